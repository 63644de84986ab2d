//! Questions: answered, unanswered, and asked of nobody.

use std::time::Duration;

use bus::RequestError;
use protocol::Catalogue;
use testkit::Nats;

#[tokio::test]
async fn nobody_is_known_at_once_and_somebody_answers() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let ask = async || {
        let subject = "interaction.discord.1".to_owned();
        let trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
        bus.request::<_, Catalogue>(subject, &crate::payload(), Duration::from_secs(60), trace).await
    };
    assert!(matches!(ask().await, Err(RequestError::NoResponders { .. })));

    let mut requests = bus.serve("interaction.>", "workers").await.unwrap();
    let answer = async {
        let request = requests.next().await.unwrap();
        assert!(request.trace().is_some());
        let question: Catalogue = request.decode().unwrap();
        request.respond(&question).await.unwrap();
    };
    let (answered, ()) = tokio::join!(ask(), answer);
    assert_eq!(answered.unwrap(), crate::payload());
}

#[tokio::test]
async fn one_who_takes_the_question_and_says_nothing_times_out() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let _silent = bus.serve("interaction.>", "workers").await.unwrap();
    let within = Duration::from_millis(50);
    let subject = "interaction.discord.1".to_owned();
    let answer = bus.request::<_, Catalogue>(subject, &crate::payload(), within, None).await;
    assert!(matches!(answer, Err(RequestError::TimedOut { .. })), "{answer:?}");
}
