//! Small values: read, written, guarded, watched over a restart.

use bus::{BucketError, BucketName};
use testkit::Nats;

#[tokio::test]
async fn a_guarded_write_notices_somebody_else() {
    let nats = Nats::start().await;
    let bucket = nats.bus("test").await.bucket(BucketName::Session).await.unwrap();
    assert_eq!(bucket.get::<u32>("cursor.0").await.unwrap(), None);
    let revision = bucket.put_if("cursor.0", &1, 0).await.unwrap();
    assert!(matches!(bucket.put_if("cursor.0", &2, 0).await, Err(BucketError::Changed { .. })));
    bucket.put("cursor.0", &3).await.unwrap();
    assert!(matches!(bucket.put_if("cursor.0", &4, revision).await, Err(BucketError::Changed { .. })));
    assert_eq!(bucket.get::<u32>("cursor.0").await.unwrap(), Some(3));
    assert!(matches!(bucket.get::<String>("cursor.0").await, Err(BucketError::Shape { .. })));
}

#[tokio::test]
async fn a_watch_starts_with_the_value_and_outlives_the_server() {
    let mut nats = Nats::start().await;
    let bucket = nats.bus("test").await.bucket(BucketName::Settings).await.unwrap();
    bucket.put("catalogue", &"one").await.unwrap();
    let mut watch = bucket.watch::<String>("catalogue");
    assert_eq!(watch.next().await.as_deref(), Some("one"));
    nats.kill();
    nats.resume().await;
    bucket.put("catalogue", &7).await.unwrap();
    bucket.put("catalogue", &"two").await.unwrap();
    let next = loop {
        // A watch that was opened again starts with the value as it is.
        match watch.next().await.as_deref() {
            Some("one") => {}
            other => break other.map(str::to_owned),
        }
    };
    assert_eq!(next.as_deref(), Some("two"));
    bucket.delete("catalogue").await.unwrap();
    assert_eq!(watch.next().await, None);
}
