//! Deliveries that are not what they say.

use crate::world::{COMMIT, GITLAB_SECRET, SECRET, World, fresh, github, hex, push, request};

#[tokio::test]
async fn a_delivery_without_the_secret_of_its_hook_does_nothing() {
    let world = World::start().await;
    let (serving, deployer) = (world.serve().await, world.deployer().await);
    let body = push(COMMIT);
    let id = fresh();
    let good = format!("sha256={}", hex(SECRET.as_bytes(), body.as_bytes()));
    let empty = format!("sha256={}", hex(b"", body.as_bytes()));
    let other = format!("sha256={}", hex("n".repeat(32).as_bytes(), body.as_bytes()));
    let bare = good.trim_start_matches("sha256=").to_owned();
    for (name, value) in [
        ("X-Hub-Signature-256", ""),
        ("X-Hub-Signature-256", "sha256="),
        ("X-Hub-Signature-256", empty.as_str()),
        ("X-Hub-Signature-256", &other),
        ("X-Hub-Signature-256", &bare),
        ("X-Hub-Signature-256", &good[..good.len() - 2]),
        ("X-Hub-Signature", "sha1=f10c08e9631bcdd874b421522a9f74664ddcf036"),
        ("X-Gitea-Signature", &bare),
        ("X-Gitlab-Token", SECRET),
        ("Authorization", SECRET),
    ] {
        let headers = [
            ("Content-Type", "application/json"),
            ("X-GitHub-Event", "push"),
            ("X-GitHub-Delivery", id.as_str()),
            (name, value),
        ];
        let replied = serving.send(&request("POST", "/hooks/github", &headers, body.as_bytes())).await;
        assert_eq!(replied.status, 401, "{name}: {value}");
        assert!(!replied.body.contains(&bare), "{}", replied.body);
    }
    let mut changed = github("github", SECRET, "push", &body, &[]);
    let last = changed.len() - 3;
    changed[last] ^= 1;
    assert_eq!(serving.send(&changed).await.status, 401);
    // What GitHub signs for one hook is nothing to another.
    assert_eq!(serving.send(&github("gitlab", SECRET, "push", &body, &[])).await.status, 401);
    assert_eq!(deployer.heard(), []);
    assert!(serving.number("webhook_requests_total.forged") > 5.0);
    serving.stop().await;
}

#[tokio::test]
async fn a_delivery_that_was_caught_does_nothing_a_second_time() {
    let world = World::start().await;
    let (serving, deployer) = (world.serve().await, world.deployer().await);
    let body = push(COMMIT);
    let signature = format!("sha256={}", hex(SECRET.as_bytes(), body.as_bytes()));
    let deliver = |id: String| {
        let headers = [
            ("Content-Type", "application/json"),
            ("X-GitHub-Event", "push"),
            ("X-GitHub-Delivery", &id),
            ("X-Hub-Signature-256", &signature),
        ];
        request("POST", "/hooks/github", &headers, body.as_bytes())
    };
    let id = fresh();
    assert_eq!(serving.send(&deliver(id.clone())).await.status, 202);
    let again = serving.send(&deliver(id)).await;
    assert_eq!(again.status, 200);
    assert!(again.body.starts_with("already"), "{}", again.body);
    // The id is not signed: who changes it, changes nothing.
    assert_eq!(serving.send(&deliver(fresh())).await.status, 200);
    // GitLab's id is all there is.
    let gitlab = push(COMMIT).replace("repository", "project").replace("full_name", "path_with_namespace");
    let headers = [
        ("Content-Type", "application/json"),
        ("X-Gitlab-Event", "Push Hook"),
        ("X-Gitlab-Event-UUID", "13792a34-cac6"),
        ("X-Gitlab-Token", GITLAB_SECRET),
    ];
    for status in [202, 200] {
        let delivery = request("POST", "/hooks/gitlab", &headers, gitlab.as_bytes());
        assert_eq!(serving.send(&delivery).await.status, status);
    }
    assert_eq!(deployer.heard().len(), 2);
    serving.stop().await;
}

#[tokio::test]
async fn what_is_about_another_repository_is_refused() {
    let world = World::start().await;
    let (serving, deployer) = (world.serve().await, world.deployer().await);
    for name in ["mallory/vigie", "ines/vigie.git", "ines/vigie/../../mallory/vigie", "../../etc/passwd"] {
        let body = push(COMMIT).replace("ines/vigie", name);
        assert_eq!(serving.send(&github("github", SECRET, "push", &body, &[])).await.status, 403, "{name}");
    }
    // Where it says what to fetch, nobody looks.
    let body = push(COMMIT).replace("\"ref\"", "\"clone_url\":\"https://evil.example/x.git\",\"ref\"");
    assert_eq!(serving.send(&github("github", SECRET, "push", &body, &[])).await.status, 202);
    let heard = format!("{:?}", deployer.heard.lock().unwrap());
    assert!(!heard.contains("evil"), "{heard}");
    serving.stop().await;
}

#[tokio::test]
async fn refs_and_commits_are_compared_and_never_passed_on() {
    let world = World::start().await;
    let (serving, deployer) = (world.serve().await, world.deployer().await);
    for reference in [
        "refs/heads/main;reboot",
        "refs/heads/$(reboot)",
        "refs/heads/main\\n",
        "--upload-pack=reboot",
        "refs/heads/../main",
        "refs/heads/main\\u0000",
        "control.backup.restore",
    ] {
        let body = push(COMMIT).replace("refs/heads/main", reference);
        let replied = serving.send(&github("github", SECRET, "push", &body, &[])).await;
        assert_eq!(replied.status, 200, "{reference}: {}", replied.body);
    }
    for commit in ["HEAD", "--force", "$(reboot)", "../../etc/passwd", "bffeb74", "a\\nb"] {
        let body = push(commit);
        let replied = serving.send(&github("github", SECRET, "push", &body, &[])).await;
        assert_eq!(replied.status, 400, "{commit}: {}", replied.body);
    }
    assert_eq!(deployer.heard(), []);
    serving.stop().await;
}

#[tokio::test]
async fn only_the_very_path_of_a_hook_leads_to_it() {
    let world = World::start().await;
    let serving = world.serve().await;
    for path in [
        "/",
        "/hooks",
        "/hooks/",
        "/hooks/nobody",
        "/hooks/github/",
        "/hooks/GitHub",
        "//hooks/github",
        "/hooks/../hooks/github",
        "/hooks/%67ithub",
        "/hooks/github%00",
        "/hooks/github/../../etc/passwd",
        "/metrics",
        "/livez",
    ] {
        let replied =
            serving.send(&request("POST", path, &[("Content-Type", "application/json")], b"{}")).await;
        assert_eq!(replied.status, 404, "{path}");
    }
    serving.stop().await;
}

#[tokio::test]
async fn another_method_or_type_is_told_what_was_expected() {
    let world = World::start().await;
    let (serving, deployer) = (world.serve().await, world.deployer().await);
    let body = push(COMMIT);
    let delivery = String::from_utf8(github("github", SECRET, "push", &body, &[])).unwrap();
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "post", "CONNECT-X"] {
        let replied = serving.send(delivery.replacen("POST", method, 1).as_bytes()).await;
        assert_eq!(replied.status, 405, "{method}");
        assert!(replied.head.contains("allow: post"), "{}", replied.head);
    }
    for kind in ["application/x-www-form-urlencoded", "text/plain", "application/jsonp", ""] {
        let replied = serving.send(delivery.replacen("application/json", kind, 1).as_bytes()).await;
        assert_eq!(replied.status, 415, "{kind}");
    }
    let named = delivery.replacen("application/json", "Application/JSON; charset=utf-8", 1);
    assert_eq!(serving.send(named.as_bytes()).await.status, 202);
    assert_eq!(deployer.heard().len(), 1);
    serving.stop().await;
}

#[tokio::test]
async fn nobody_can_say_that_they_come_from_elsewhere() {
    let world = World::start().await;
    let deployer = world.deployer().await;
    let near = "n".repeat(32);
    let from = |forwarded: &str| {
        github("near", &near, "push", &push(&crate::world::fresh_commit()), &[("X-Forwarded-For", forwarded)])
    };
    let serving = world.serve().await;
    assert_eq!(serving.send(&from("192.0.2.1")).await.status, 403, "nobody is a proxy");
    serving.stop().await;

    let behind = world.config(&[("WEBHOOK_PROXIES", "127.0.0.0/8,198.51.100.0/24")]);
    let serving = world.serve_with(behind).await;
    for (forwarded, status) in [
        ("192.0.2.1", 202),
        ("203.0.113.9, 192.0.2.1", 202),
        ("203.0.113.9, 192.0.2.1, 198.51.100.7", 202),
        ("192.0.2.1, 203.0.113.9", 403),
        ("192.0.2.1, 203.0.113.9, 198.51.100.7", 403),
        ("192.0.2.1, unknown", 400),
        ("192.0.2.1, ", 400),
    ] {
        assert_eq!(serving.send(&from(forwarded)).await.status, status, "{forwarded}");
    }
    let two = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "203.0.113.9")];
    assert_eq!(serving.send(&github("near", &near, "push", &push(COMMIT), &two)).await.status, 403);
    let none = github("near", &near, "push", &push(COMMIT), &[]);
    assert_eq!(serving.send(&none).await.status, 403, "then it is the proxy's own");
    assert_eq!(deployer.heard().len(), 3);
    serving.stop().await;
}

#[tokio::test]
async fn a_request_that_two_programs_would_read_differently_is_not_taken() {
    let world = World::start().await;
    let (serving, deployer) = (world.serve().await, world.deployer().await);
    let delivery = String::from_utf8(github("github", SECRET, "push", &push(COMMIT), &[])).unwrap();
    let chunked = delivery.replacen("Host:", "Transfer-Encoding: chunked\r\nHost:", 1);
    let replied = serving.send(chunked.as_bytes()).await;
    assert!(matches!(replied.status, 0 | 400 | 411), "{replied:?}");
    let twice = delivery.replacen("Host:", "Content-Length: 3\r\nHost:", 1);
    let replied = serving.send(twice.as_bytes()).await;
    assert!(matches!(replied.status, 0 | 400), "{replied:?}");
    // A second request behind the first is not looked at.
    let two = format!("{delivery}{delivery}");
    let replied = serving.send(two.as_bytes()).await;
    assert_eq!(replied.status, 202);
    assert_eq!(replied.body, "accepted\n");
    assert_eq!(deployer.heard().len(), 1);
    serving.stop().await;
}
