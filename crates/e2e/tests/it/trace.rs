//! One trace for each chat command, from the frame that came in to the request that went out, as a
//! real OTLP receiver sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use e2e::{Stack, StackOptions};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use sandbox::feed::Platform;
use testkit::eventually;

#[derive(Clone, Debug)]
struct Seen {
    service: String,
    name: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    start: u64,
}

type Spans = Arc<Mutex<Vec<Seen>>>;

async fn receive(State(spans): State<Spans>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for resource in request.resource_spans {
        let attributes = resource.resource.unwrap_or_default().attributes;
        let service = attributes.iter().find(|it| it.key == "service.name").unwrap();
        let service = format!("{:?}", service.value);
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.lock().unwrap().push(Seen {
                service: service.clone(),
                name: span.name,
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
                start: span.start_time_unix_nano,
            });
        }
    }
}

async fn receiver() -> (String, Spans) {
    let spans = Spans::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route("/v1/traces", post(receive)).with_state(spans.clone());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, spans)
}

#[tokio::test]
async fn a_command_is_one_trace_through_every_service() {
    let (url, spans) = receiver().await;
    let variables = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", url)];
    let stack = Stack::start(StackOptions { variables, ..StackOptions::default() }).await;
    for (platform, gateway, last) in [
        (Platform::Discord, "discord-gateway", "discord.request"),
        (Platform::Twitch, "twitch-gateway", "twitch.send"),
    ] {
        stack.ask(platform, "!echo traced").await;
        let trace = eventually(Duration::from_secs(20), || async {
            let all = spans.lock().unwrap().clone();
            let mut traces: BTreeMap<Vec<u8>, Vec<Seen>> = BTreeMap::new();
            for span in all {
                traces.entry(span.trace.clone()).or_default().push(span);
            }
            let whole = |trace: &&Vec<Seen>| {
                let services: BTreeSet<_> = trace.iter().map(|span| &span.service).collect();
                let has = |name: &str| services.iter().any(|service| service.contains(name));
                has(gateway) && has("command-worker") && trace.iter().any(|span| span.name == last)
            };
            traces.values().find(whole).cloned().ok_or(traces.into_values().flatten().collect::<Vec<_>>())
        })
        .await;
        let roots: Vec<_> = trace.iter().filter(|span| span.parent.is_empty()).collect();
        assert_eq!(roots.len(), 1, "{trace:#?}");
        assert!(roots[0].service.contains(gateway), "{trace:#?}");
        let ids: BTreeSet<_> = trace.iter().map(|span| &span.id).collect();
        for span in trace.iter().filter(|span| !span.parent.is_empty()) {
            assert!(ids.contains(&span.parent), "{} has a parent outside its trace: {trace:#?}", span.name);
        }
        let latest = trace.iter().max_by_key(|span| span.start).unwrap();
        assert_eq!(latest.name, last, "{trace:#?}");
    }
}
