//! Tests of the forges' proofs: documented examples, real deliveries, and what an attacker would try.

use std::{fs, io, path::Path};

use proptest::prelude::*;

use super::*;

/// GitHub's documentation, "Validating webhook deliveries": a secret, a body, and the signature of it.
const SECRET: &str = "It's a Secret to Everybody";
const BODY: &[u8] = b"Hello, World!";
const SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
const NOW: u64 = 1_800_000_000;
/// Deliveries in the form that the forges document.
const FORMS: &str = "tests/deliveries";
/// Deliveries as forges sent them; a clone does not have them.
const DELIVERIES: &str = "../../../shared/data/webhooks";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn verify(forge: Forge, pairs: &[(&'static str, &str)], body: &[u8]) -> Result<Verified, Doubt> {
    forge.verify(&Secret::of(SECRET.as_bytes()), &headers(pairs), body, NOW)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn v1(secret: &[u8], signed: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("v1,{}", BASE64.encode(hmac::sign(&key, signed.as_bytes())))
}

#[test]
fn the_documented_example_of_github_holds() {
    let signature = format!("sha256={SIGNATURE}");
    let pairs = [("x-hub-signature-256", signature.as_str()), ("x-github-delivery", "72d3162e-cc78")];
    let verified = verify(Forge::GitHub, &pairs, BODY).unwrap();
    assert_eq!(verified.id, "72d3162e-cc78");
    assert_eq!(hex(&verified.mark), SIGNATURE);
    assert_eq!(verify(Forge::GitHub, &pairs, b"Hello, World?"), Err(Doubt::Forged));
    let other = Secret::of(b"It's a Secret to Everybody!");
    assert_eq!(Forge::GitHub.verify(&other, &headers(&pairs), BODY, NOW), Err(Doubt::Forged));
}

#[test]
fn deliveries_in_the_form_of_each_forge_hold() {
    for (name, forge) in [
        ("github-push", Forge::GitHub),
        ("github-ping", Forge::GitHub),
        ("github-release", Forge::GitHub),
        ("gitea-push", Forge::Gitea),
        ("gitlab-push", Forge::GitLab),
    ] {
        holds(name, forge, &read(FORMS, name).unwrap());
    }
}

#[test]
fn real_deliveries_hold() {
    for (name, forge) in [
        ("github-push-0", Forge::GitHub),
        ("github-push-1", Forge::GitHub),
        ("github-push-2", Forge::GitHub),
        ("github-ping-0", Forge::GitHub),
        ("github-release-0", Forge::GitHub),
        ("gitea-push", Forge::Gitea),
        ("gitlab-push", Forge::GitLab),
    ] {
        match read(DELIVERIES, name) {
            Ok(text) => holds(name, forge, &text),
            Err(_) => testkit::skipped(&format!("the delivery {name} is not here")),
        }
    }
}

fn read(folder: &str, name: &str) -> io::Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    fs::read_to_string(folder.join(format!("{name}.json")))
}

/// A delivery has a good proof, and a bad one as soon as anything is changed.
fn holds(name: &str, forge: Forge, delivery: &str) {
    let delivery: serde_json::Value = serde_json::from_str(delivery).unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in delivery["headers"].as_object().unwrap() {
        let name: hyper::header::HeaderName = name.parse().unwrap();
        headers.insert(name, value.as_str().unwrap().parse().unwrap());
    }
    let secret = Secret::of(delivery["secret"].as_str().unwrap().as_bytes());
    let body = delivery["raw_body"].as_str().unwrap().as_bytes();
    assert!(forge.verify(&secret, &headers, body, NOW).is_ok(), "{name}");
    let other = Secret::of(b"another");
    assert_eq!(forge.verify(&other, &headers, body, NOW), Err(Doubt::Forged), "{name}");
    if forge != Forge::GitLab {
        let changed = [body, b" "].concat();
        assert_eq!(forge.verify(&secret, &headers, &changed, NOW), Err(Doubt::Forged), "{name}");
    }
}

#[test]
fn gitea_and_forgejo_sign_without_a_prefix_and_each_by_its_own_header() {
    let gitea = [("x-gitea-signature", SIGNATURE), ("x-gitea-delivery", "d1")];
    assert!(verify(Forge::Gitea, &gitea, BODY).is_ok());
    assert_eq!(verify(Forge::Forgejo, &gitea, BODY), Err(Doubt::Unsigned));
    assert_eq!(verify(Forge::GitHub, &gitea, BODY), Err(Doubt::Unsigned));
    let forgejo = [("x-forgejo-signature", SIGNATURE), ("x-forgejo-delivery", "d1")];
    assert!(verify(Forge::Forgejo, &forgejo, BODY).is_ok());
    let prefixed = format!("sha256={SIGNATURE}");
    let pairs = [("x-gitea-signature", prefixed.as_str()), ("x-gitea-delivery", "d1")];
    assert_eq!(verify(Forge::Gitea, &pairs, BODY), Err(Doubt::Forged));
}

#[test]
fn the_key_of_a_signature_is_no_token_and_a_weaker_digest_no_signature() {
    let token = [("x-gitlab-token", SECRET), ("x-github-delivery", "d1")];
    assert_eq!(verify(Forge::GitHub, &token, BODY), Err(Doubt::Unsigned));
    let sha1 =
        [("x-hub-signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"), ("x-github-delivery", "d1")];
    assert_eq!(verify(Forge::GitHub, &sha1, BODY), Err(Doubt::Unsigned));
}

#[test]
fn two_of_a_header_are_one_too_many() {
    let signature = format!("sha256={SIGNATURE}");
    let pairs = [
        ("x-hub-signature-256", signature.as_str()),
        ("x-hub-signature-256", signature.as_str()),
        ("x-github-delivery", "d1"),
    ];
    assert_eq!(verify(Forge::GitHub, &pairs, BODY), Err(Doubt::Forged));
    let pairs = [
        ("x-hub-signature-256", signature.as_str()),
        ("x-github-delivery", "d1"),
        ("x-github-delivery", "d2"),
    ];
    assert_eq!(verify(Forge::GitHub, &pairs, BODY), Err(Doubt::Forged));
}

#[test]
fn a_delivery_without_an_id_or_with_a_strange_one_is_not_believed() {
    let signature = format!("sha256={SIGNATURE}");
    let with = |id: &str| {
        verify(Forge::GitHub, &[("x-hub-signature-256", &signature), ("x-github-delivery", id)], BODY)
    };
    assert!(with("72d3162e").is_ok());
    for id in ["", "a b", "a.b", "a\tb", "../x", &"a".repeat(ID_MAX + 1)] {
        assert_eq!(with(id), Err(Doubt::Forged), "{id:?}");
    }
    assert_eq!(verify(Forge::GitHub, &[("x-hub-signature-256", &signature)], BODY), Err(Doubt::Unsigned));
}

#[test]
fn the_token_of_gitlab_is_the_whole_secret() {
    let with =
        |token: &str| verify(Forge::GitLab, &[("x-gitlab-token", token), ("idempotency-key", "d1")], BODY);
    assert!(with(SECRET).is_ok());
    for token in ["", "It's a Secret", "It's a Secret to Everybody!", "it's a Secret to Everybody"] {
        assert_eq!(with(token), Err(Doubt::Forged), "{token:?}");
    }
    let older = [("x-gitlab-token", SECRET), ("x-gitlab-event-uuid", "d1")];
    assert_eq!(verify(Forge::GitLab, &older, BODY).unwrap().id, "d1");
}

#[test]
fn the_signature_of_gitlab_covers_id_and_time() {
    let key = [7; 32];
    let secret = Secret::new(Forge::GitLabSigned, &format!("whsec_{}", BASE64.encode(key))).unwrap();
    let good = v1(&key, "d1.1800000000.{}");
    let with = |id: &str, time: &str, signature: &str, now_s| {
        let pairs = [("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature)];
        Forge::GitLabSigned.verify(&secret, &headers(&pairs), b"{}", now_s)
    };
    assert_eq!(with("d1", "1800000000", &good, NOW).unwrap().id, "d1");
    assert!(
        with("d1", "1800000000", &good, NOW + 299).is_ok()
            && with("d1", "1800000000", &good, NOW - 299).is_ok()
    );
    assert_eq!(with("d1", "1800000000", &good, NOW + 301), Err(Doubt::Stale));
    assert_eq!(with("d1", "1800000000", &good, NOW - 301), Err(Doubt::Stale));
    assert_eq!(with("d2", "1800000000", &good, NOW), Err(Doubt::Forged));
    assert_eq!(with("d1", "1800000001", &good, NOW), Err(Doubt::Forged));
    assert_eq!(with("d1", "+1800000000", &good, NOW), Err(Doubt::Forged));
    let two = format!("{} {good}", v1(&[8; 32], "d1.1800000000.{}"));
    assert!(with("d1", "1800000000", &two, NOW).is_ok(), "while a key is changed there are two signatures");
    let many = format!("{}{good}", format!("{} ", v1(&[8; 32], "d1.1800000000.{}")).repeat(SIGNATURES_MAX));
    assert_eq!(with("d1", "1800000000", &many, NOW), Err(Doubt::Forged));
    assert_eq!(with("d1", "1800000000", &good.replace("v1,", "v1a,"), NOW), Err(Doubt::Forged));
    // What is signed cannot be cut in another place.
    let moved = v1(&key, "d1.1800000000.1.{}");
    assert_eq!(with("d1.1800000000", "1", &moved, NOW), Err(Doubt::Forged));
}

#[test]
fn a_short_secret_is_none() {
    for forge in Forge::ALL {
        assert!(Secret::new(forge, "").is_err(), "{forge:?}");
        assert!(Secret::new(forge, "a_random_secret").is_err(), "{forge:?}");
    }
    assert!(Secret::new(Forge::GitHub, &"a".repeat(31)).is_err());
    assert!(Secret::new(Forge::GitHub, &"a".repeat(32)).is_ok());
    let short = format!("whsec_{}", BASE64.encode([7; 31]));
    assert!(Secret::new(Forge::GitLabSigned, &short).unwrap_err().contains("31 bytes"));
    let (a, b) = (Secret::of(b"a"), Secret::of(b"b"));
    assert!(a.is(&a.clone()) && !a.is(&b));
    assert_eq!(format!("{a:?}"), "Secret(…)");
}

proptest! {
    #[test]
    fn nothing_that_is_not_signed_holds(
        forge in prop::sample::select(Forge::ALL.to_vec()),
        proof in "([ -~]{0,200}|sha256=[0-9a-f]{64}|[0-9a-f]{64}|v1,[A-Za-z0-9+/]{43}=)",
        id in "[ -~]{0,40}",
        time in "([ -~]{0,20}|18000000[0-9]{2})",
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut all = vec![(forge.proof_header(), proof.as_str()), ("webhook-timestamp", &time)];
        all.extend(forge.id_headers().iter().map(|name| (*name, id.as_str())));
        prop_assert!(verify(forge, &all, &body).is_err());
    }

    #[test]
    fn hex_is_read_as_it_is_written(tag in any::<[u8; 32]>(), text in "[ -~]{0,70}") {
        prop_assert_eq!(tag_of_hex(&hex(&tag)), Some(tag));
        if let Some(read) = tag_of_hex(&text) {
            prop_assert_eq!(hex(&read), text.to_lowercase());
        }
    }

    #[test]
    fn whatever_is_signed_holds_and_no_bit_of_it_may_change(
        body in prop::collection::vec(any::<u8>(), 1..200),
        flip in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let signature = hex(hmac::sign(&key, &body).as_ref());
        let pairs = [("x-gitea-signature", signature.as_str()), ("x-gitea-delivery", "d1")];
        prop_assert!(verify(Forge::Gitea, &pairs, &body).is_ok());
        let mut changed = body.clone();
        changed[flip.index(body.len())] ^= 1 << bit;
        prop_assert_eq!(verify(Forge::Gitea, &pairs, &changed), Err(Doubt::Forged));
    }
}
