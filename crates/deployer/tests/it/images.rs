//! What is left on the disk of releases that came and went.

use std::{collections::BTreeSet, fs};

use testkit::eventually;

use crate::world::{OPERATIONS, SOON, World, image};

/// An image that is pulled by its digest has a name of the registry, by which it stayed: 100 MB for each release.
#[tokio::test]
async fn releases_to_which_nobody_goes_back_leave_nothing_behind() {
    let world = World::start().await;
    let _running = world.run(world.config());
    for number in 1..=6 {
        world.release_with_operations(number);
        if number == 6 {
            world.put(&format!("fake/bad/{}", image(number)), "");
        }
        assert_eq!(world.deploy().await.good, number < 6);
    }
    assert_eq!(world.status().await.kept, ["1.4.0", "1.3.0", "1.2.0"]);
    let mut expected: BTreeSet<String> = ["vigie:local", "vigie:local-operations"].map(str::to_owned).into();
    for number in 2..=5 {
        expected.extend([image(number), image(number | OPERATIONS)]);
        expected.extend(["", "-operations"].map(|which| format!("vigie-kept:1.{number}.0{which}")));
    }
    eventually(SOON, || async {
        let images = fs::read_dir(world.path("fake/images")).unwrap();
        let here: BTreeSet<String> =
            images.filter_map(|it| it.ok()?.file_name().into_string().ok()).collect();
        if here == expected { Ok(()) } else { Err(here) }
    })
    .await;
}

#[tokio::test]
async fn a_name_of_the_registry_that_stays_stops_no_deploy() {
    let world = World::start().await;
    world.release(1);
    world.put("fake/fail", "image rm -- registry");
    let _running = world.run(world.config());
    let end = world.deploy().await;
    assert!(end.good, "{}", end.words);
    world.runs(1);
}
