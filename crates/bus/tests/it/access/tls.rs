//! TLS as `nats.conf` has it ready, with a certificate of an own authority.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bus::{Bus, ConnectError, Login, Nkey, Options, User};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use testkit::Nats;

/// The block of the configuration for Compose, switched on.
fn block(folder: &Path) -> String {
    let conf = include_str!("../../../../../nats.conf");
    let begin = conf.find("#tls {").unwrap();
    let end = begin + conf[begin..].find("#}").unwrap() + 2;
    let block = conf[begin..end].replace('#', "");
    assert!(block.contains("/run/secrets/nats_cert") && block.contains("/run/secrets/nats_key"), "{block}");
    block.replace("/run/secrets", folder.to_str().unwrap())
}

/// Writes `<name>.pem`, the certificate of an authority, which signs what is returned.
fn authority(folder: &Path, name: &str) -> (PathBuf, CertifiedIssuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let path = folder.join(format!("{name}.pem"));
    std::fs::write(&path, issuer.pem()).unwrap();
    (path, issuer)
}

async fn connect(
    nats: &Nats,
    key: &Nkey,
    scheme: &str,
    ca_file: Option<PathBuf>,
) -> Result<Bus, ConnectError> {
    let login = Login { user: User::Operator, nkey: Some(key.seed().clone()), ca_file };
    let url = nats.url().replace("nats://127.0.0.1", &format!("{scheme}://localhost"));
    Bus::connect_as(&login, Options { url, name: "test".to_owned() }).await
}

#[tokio::test]
async fn only_a_server_that_the_own_authority_vouches_for_is_believed() {
    let folder = TempDir::new().unwrap();
    let (ours, issuer) = authority(folder.path(), "ours");
    let (others, _) = authority(folder.path(), "others");
    let key_pair = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key_pair, &issuer).unwrap();
    std::fs::write(folder.path().join("nats_cert"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("nats_key"), key_pair.serialize_pem()).unwrap();

    let key = Nkey::generate().unwrap();
    let keys = BTreeMap::from([(User::Operator, key.clone())]);
    let nats = Nats::start_with(keys.clone(), block(folder.path())).await;
    for scheme in ["tls", "nats"] {
        let bus = connect(&nats, &key, scheme, Some(ours.clone())).await.unwrap();
        bus.round_trip().await;
    }
    let error = connect(&nats, &key, "tls", Some(others)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Untrusted { .. }), "{error:?}");
    let error = connect(&nats, &key, "tls", Some(folder.path().join("missing.pem"))).await.unwrap_err();
    assert!(error.to_string().contains("missing.pem cannot be read"), "{error}");

    // Somebody in between who offers no TLS gets nothing.
    let plain = Nats::start_with(keys, String::new()).await;
    let tried = connect(&plain, &key, "nats", Some(ours));
    let within = std::time::Duration::from_secs(2);
    assert!(tokio::time::timeout(within, tried).await.is_err(), "it never connects");
}
