//! Tokens: validate, client credentials, refresh with rotation, revoke.

use serde_json::{Value, json};

use super::client::{Http, start};

fn refresh<'a>(token: &'a str, secret: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("client_id", "sandbox-client"),
        ("client_secret", secret),
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
    ]
}

#[tokio::test]
async fn validate_says_whose_token_it_is() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    for path in ["/oauth2/validate", "/auth/validate"] {
        for scheme in ["OAuth", "Bearer"] {
            let answer = http.get(path, &[("authorization", &format!("{scheme} sandbox-token"))]).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.body["login"], "vigie_bot");
            assert_eq!(answer.body["user_id"], "800100200");
            assert_eq!(answer.body["client_id"], "sandbox-client");
            assert!(answer.body["scopes"].as_array().unwrap().contains(&json!("chat:read")));
            assert!(answer.body["expires_in"].as_u64().unwrap() > 1000);
        }
    }
    let answer = http.get("/oauth2/validate", &[("authorization", "OAuth wrong")]).await;
    assert_eq!(answer.body, json!({"status": 401, "message": "invalid access token"}));
    let answer = http.get("/oauth2/validate", &[]).await;
    assert_eq!((answer.status, &answer.body["message"]), (401, &json!("missing authorization token")));
    sandbox.twitch().expire_token("sandbox-token");
    let answer = http.get("/oauth2/validate", &[("authorization", "OAuth sandbox-token")]).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn an_app_token_belongs_to_nobody() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    let token = http.app_token().await;
    let answer = http.get("/oauth2/validate", &[("authorization", &format!("Bearer {token}"))]).await;
    assert_eq!((answer.status, &answer.body["login"]), (200, &Value::Null));
}

#[tokio::test]
async fn a_refresh_token_is_good_once() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    let first = http.post_form("/oauth2/token", &refresh("sandbox-refresh", "sandbox-secret")).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.body["token_type"], "bearer");
    let access = first.body["access_token"].as_str().unwrap();
    let next = first.body["refresh_token"].as_str().unwrap();
    assert_ne!(next, "sandbox-refresh");
    let valid = http.get("/oauth2/validate", &[("authorization", &format!("OAuth {access}"))]).await;
    assert_eq!(valid.body["login"], "vigie_bot");

    let used = http.post_form("/oauth2/token", &refresh("sandbox-refresh", "sandbox-secret")).await;
    assert_eq!((used.status, &used.body["message"]), (400, &json!("Invalid refresh token")));
    let second = http.post_form("/auth/token", &refresh(next, "sandbox-secret")).await;
    assert_eq!(second.status, 200);
}

#[tokio::test]
async fn a_client_that_is_not_known_gets_nothing() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    let answer = http.post_form("/oauth2/token", &refresh("sandbox-refresh", "wrong")).await;
    assert_eq!(answer.body, json!({"status": 403, "message": "invalid client secret"}));
    let answer = http.post_form("/oauth2/token", &[("client_id", "wrong")]).await;
    assert_eq!(answer.body, json!({"status": 400, "message": "invalid client"}));
    let answer = http.post_form("/oauth2/token", &[]).await;
    assert_eq!(answer.body, json!({"status": 400, "message": "missing client id"}));
}

#[tokio::test]
async fn a_revoked_token_is_unknown() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    let form = [("client_id", "sandbox-client"), ("token", "sandbox-token")];
    assert_eq!(http.post_form("/oauth2/revoke", &form).await.status, 200);
    let answer = http.post_form("/oauth2/revoke", &form).await;
    assert_eq!(answer.body, json!({"status": 400, "message": "Invalid token"}));
    assert_eq!(http.helix("sandbox-token", "GET", "users", None).await.status, 401);
}

#[tokio::test]
async fn the_token_service_can_fail() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    sandbox.twitch().faults().fail_oauth(503, 1);
    let headers = [("authorization", "OAuth sandbox-token")];
    assert_eq!(http.get("/oauth2/validate", &headers).await.status, 503);
    assert_eq!(http.get("/oauth2/validate", &headers).await.status, 200);
}
