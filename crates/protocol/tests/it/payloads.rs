//! The JSON of each payload, pinned: a change here is a change of the contract.

use protocol::{
    Action, ActionBody, Author, ChannelId, ChatMessage, Command, CommunityId, Content, DecodeError, Delivery,
    DropReason, Event, EventBody, EventId, MessageId, Outcome, OutcomeBody, Platform, Rank, UserId, VERSION,
    decode, encode,
};

fn command() -> Event {
    Event {
        v: VERSION,
        id: EventId::new("twitch:885196de-cb67-427a-baa8-82f9b0fcd05f").unwrap(),
        platform: Platform::Twitch,
        community: CommunityId::new("11148817").unwrap(),
        at_ms: 1_700_000_000_000,
        received_us: 1_700_000_000_012_345,
        body: EventBody::Command(Command {
            message: ChatMessage {
                id: MessageId::new("885196de-cb67-427a-baa8-82f9b0fcd05f").unwrap(),
                channel: ChannelId::new("11148817").unwrap(),
                author: Author {
                    id: UserId::new("29025574").unwrap(),
                    name: "Ines".into(),
                    rank: Rank::Moderator,
                    bot: false,
                },
                text: "!ping  now".into(),
                reply_to: None,
            },
            prefix: "!".into(),
        }),
    }
}

#[test]
fn a_command_reads_as_documented() {
    let event = command();
    insta::assert_json_snapshot!(event, @r#"
    {
      "v": 1,
      "id": "twitch:885196de-cb67-427a-baa8-82f9b0fcd05f",
      "platform": "twitch",
      "community": "11148817",
      "at_ms": 1700000000000,
      "received_us": 1700000000012345,
      "body": {
        "command": {
          "message": {
            "id": "885196de-cb67-427a-baa8-82f9b0fcd05f",
            "channel": "11148817",
            "author": {
              "id": "29025574",
              "name": "Ines",
              "rank": "moderator"
            },
            "text": "!ping  now"
          },
          "prefix": "!"
        }
      }
    }
    "#);
    assert_eq!(decode::<Event>(&encode(&event).unwrap()).unwrap(), event);
    let EventBody::Command(command) = event.body else { unreachable!("it was built as a command") };
    assert_eq!(command.line(), "ping  now");
}

#[test]
fn an_action_and_its_outcome_read_as_documented() {
    let cause = command();
    let action = Action {
        v: VERSION,
        id: cause.id.action(0),
        platform: cause.platform,
        community: cause.community.clone(),
        channel: ChannelId::new("11148817").unwrap(),
        cause: cause.id.clone(),
        cause_received_us: cause.received_us,
        expires_at_ms: 1_700_000_030_000,
        delivery: Delivery::AtMostOnce,
        body: ActionBody::Reply { to: MessageId::new("885196de").unwrap(), content: Content::text("pong") },
    };
    let outcome = Outcome {
        v: VERSION,
        action: action.id.clone(),
        platform: action.platform,
        community: action.community.clone(),
        at_ms: 1_700_000_000_020,
        body: OutcomeBody::Dropped { reason: DropReason::RateLimited, detail: "20 of 20 used".into() },
    };
    insta::assert_json_snapshot!((&action, &outcome), @r#"
    [
      {
        "v": 1,
        "id": "twitch:885196de-cb67-427a-baa8-82f9b0fcd05f:0",
        "platform": "twitch",
        "community": "11148817",
        "channel": "11148817",
        "cause": "twitch:885196de-cb67-427a-baa8-82f9b0fcd05f",
        "cause_received_us": 1700000000012345,
        "expires_at_ms": 1700000030000,
        "delivery": "at_most_once",
        "body": {
          "reply": {
            "to": "885196de",
            "content": {
              "text": "pong"
            }
          }
        }
      },
      {
        "v": 1,
        "action": "twitch:885196de-cb67-427a-baa8-82f9b0fcd05f:0",
        "platform": "twitch",
        "community": "11148817",
        "at_ms": 1700000000020,
        "body": {
          "dropped": {
            "reason": "rate_limited",
            "detail": "20 of 20 used"
          }
        }
      }
    ]
    "#);
    assert_eq!(decode::<Action>(&encode(&action).unwrap()).unwrap(), action);
    assert_eq!(decode::<Outcome>(&encode(&outcome).unwrap()).unwrap(), outcome);
}

#[test]
fn a_newer_version_is_named_even_when_its_shape_is_unknown() {
    let newer = br#"{"v":2,"what":"ever"}"#;
    assert!(matches!(decode::<Event>(newer), Err(DecodeError::Version { found: 2, .. })));
    assert!(matches!(decode::<Event>(b"{"), Err(DecodeError::Shape { .. })));
    assert!(matches!(decode::<Event>(br#"{"v":1}"#), Err(DecodeError::Shape { .. })));
}

#[test]
fn an_unknown_field_is_passed_by() {
    let mut json = serde_json::to_value(command()).unwrap();
    json["added_later"] = true.into();
    assert_eq!(decode::<Event>(json.to_string().as_bytes()).unwrap(), command());
}
