//! Frames that were captured in the wild. They are not part of a clone: where they are absent, the
//! test says so.

use std::{fs, path::Path};

use discord_gateway::{
    convert,
    frame::{Guild, GuildGone, Header, Interaction, Kind, Message, Ready, RoleChange, RoleGone, data},
};
use protocol::Rank;

#[test]
fn every_captured_frame_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/discord/gateway-events");
    let Ok(entries) = fs::read_dir(&folder) else {
        testkit::skipped(&format!("no captured frames at {}", folder.display()));
        return;
    };
    let mut read = 0;
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(frame) = fs::read_to_string(&path) else { continue };
        let header = Header::read(&frame).unwrap_or_else(|| panic!("{name}: no opcode"));
        let Some(kind) = header.name.as_deref() else { continue };
        assert!(header.sequence.is_some(), "{name}");
        match Kind::of(kind) {
            (Kind::Ready, _) => drop(data::<Ready>(&frame).unwrap()),
            (Kind::GuildCreate | Kind::GuildUpdate, _) => drop(data::<Guild>(&frame).unwrap()),
            (Kind::GuildDelete, _) => drop(data::<GuildGone>(&frame).unwrap()),
            (Kind::RoleCreate | Kind::RoleUpdate, _) => drop(data::<RoleChange>(&frame).unwrap()),
            (Kind::RoleDelete, _) => drop(data::<RoleGone>(&frame).unwrap()),
            (Kind::Message, _) => {
                let message: Message<'_> = data(&frame).unwrap();
                assert!(convert::message(&message, Rank::Everyone, None, 0).is_some(), "{name}");
            }
            (Kind::Interaction, _) => {
                let asked: Interaction<'_> = data(&frame).unwrap();
                // Options with groups and modals are nothing that this bot offers.
                let offered = matches!(asked.kind, 2..=4);
                assert_eq!(convert::interaction(&asked, 0).is_some(), offered, "{name}");
            }
            (Kind::Resumed, _) => {}
            (Kind::Other, label) => assert_ne!(label, "unknown", "{name}: {kind}"),
        }
        read += 1;
    }
    assert!(read > 0);
}
