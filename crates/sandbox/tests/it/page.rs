//! The chat page in a real browser, with a bot on the raw wire at the other end.

mod browser;

use sandbox::{Options, Sandbox, people::Person};
use serde_json::json;

use self::browser::Page;
use crate::bot::Bot;

/// The last line of a channel, as the page shows it.
const LAST: &str = "document.querySelector('#discord .log .msg:last-child')";

async fn focus(page: &mut Page, id: &str) {
    page.eval(&format!("document.getElementById('{id}').focus()")).await;
}

fn commands() -> serde_json::Value {
    json!([
        { "name": "ping", "type": 1, "description": "Measures the way there and back" },
        { "name": "echo", "type": 1, "description": "Says your words again", "options": [
            { "name": "text", "type": 3, "required": true, "description": "What to say" },
            { "name": "loud", "type": 5, "description": "In capitals" } ] },
        { "name": "light", "type": 1, "description": "Which lighthouse", "options": [
            { "name": "place", "type": 3, "required": true, "autocomplete": true, "description": "Where" } ] },
    ])
}

fn about() -> serde_json::Value {
    json!({
        "content": "",
        "embeds": [{ "title": "Vigie <b>0.1.0</b>", "description": "Keeps **watch**.", "color": 0x0a_62_74,
            "fields": [{ "name": "Uptime", "value": "3 days", "inline": true }] }],
        "components": [{ "type": 1, "components": [
            { "type": 2, "style": 1, "label": "Refresh", "custom_id": "again" } ] }],
    })
}

#[tokio::test]
async fn a_conversation_with_embed_button_edit_and_deletion() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let Some(mut page) = Page::open(&format!("{}/", sandbox.http_url())).await else { return };
    page.until("document.querySelector('#discord .presence').textContent === 'no bot yet'").await;
    let mut bot = Bot::connect(&sandbox.http_url()).await;
    page.until("document.querySelector('#discord .presence.online')").await;

    // Ines is chosen at first; she types a line and the bot answers it.
    focus(&mut page, "discord-line").await;
    page.write("!about <img src=x onerror=alert(1)>").await;
    page.key("Enter").await;
    let asked = bot.message().await;
    assert_eq!(asked["content"], "!about <img src=x onerror=alert(1)>");
    assert_eq!(
        asked["author"]["global_name"].as_str().or(asked["author"]["username"].as_str()),
        Some("Ines")
    );
    let answer = bot.reply(&asked, about()).await;
    page.until(&format!("{LAST}?.querySelector('.embed h3')?.textContent === 'Vigie <b>0.1.0</b>'")).await;
    page.until(&format!("/^[0-9.]+ (µs|ms|s)$/.test({LAST}.querySelector('.pill').textContent)")).await;
    page.until(&format!("{LAST}.querySelector('.quote').textContent.includes('!about <img src=x')")).await;
    page.until("document.querySelector('.log img') === null").await;

    // Its button, pressed on the page, arrives at the bot; the answer changes the message.
    page.eval(&format!("{LAST}.querySelector('.press').click()")).await;
    let press = bot.event("INTERACTION_CREATE").await;
    assert_eq!(press["data"]["custom_id"], "again");
    assert_eq!(press["message"]["id"], answer["id"]);
    bot.respond(&press, json!({ "type": 7, "data": { "content": "fresh" } })).await;
    page.until(&format!("{LAST}.querySelector('.text')?.textContent === 'fresh'")).await;
    page.picture("conversation.png").await;

    let path = format!(
        "/channels/{}/messages/{}",
        answer["channel_id"].as_str().unwrap(),
        answer["id"].as_str().unwrap()
    );
    bot.request("PUT", &format!("{path}/reactions/%E2%9A%93/@me"), json!(null)).await;
    page.until(&format!("{LAST}.querySelector('.reaction')?.textContent === '⚓ 1'")).await;
    bot.request("DELETE", &path, json!(null)).await;
    page.until(&format!("{LAST}.classList.contains('gone')")).await;

    // Up recalls the line; a refusal is shown beside the box, not in a console.
    page.key("ArrowUp").await;
    page.until("document.getElementById('discord-line').value.startsWith('!about')").await;
    page.eval("document.getElementById('discord-line').value = ''").await;
    page.write("/nope").await;
    page.key("Enter").await;
    page.until("document.querySelector('#discord .problem').textContent.includes('no slash command')").await;
    // The browser itself notes every answer of 400; the page must add nothing to that.
    page.complaints.retain(|complaint| !complaint.contains("status of 400"));
    assert!(page.complaints.is_empty(), "{:?}", page.complaints);
    page.close().await;
    sandbox.stop().await;
}

#[tokio::test]
async fn a_slash_command_by_keyboard_alone() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let mut bot = Bot::connect(&sandbox.http_url()).await;
    let Some(mut page) = Page::open(&format!("{}/", sandbox.http_url())).await else { return };
    bot.register(commands()).await;
    let value = "document.getElementById('discord-line').value";

    focus(&mut page, "discord-line").await;
    page.write("/").await;
    page.until("document.querySelectorAll('#discord .choice').length === 3").await;
    page.until("document.querySelector('#discord [aria-selected=true] b').textContent === '/echo'").await;
    page.picture("completion.png").await;
    page.key("Escape").await;
    page.until("document.querySelector('#discord .popup').hidden").await;
    page.write("e").await;
    page.key("Tab").await;
    page.until(&format!("{value} === '/echo text:'")).await;
    page.write("ship ahoy ").await;
    page.until("document.querySelector('#discord [aria-selected=true] b').textContent === 'loud:'").await;
    page.key("Tab").await;
    page.until(&format!("{value} === '/echo text:ship ahoy loud:'")).await;
    page.key("Enter").await;
    page.until(&format!("{value} === '/echo text:ship ahoy loud:true'")).await;
    page.key("Enter").await;
    let slash = bot.event("INTERACTION_CREATE").await;
    assert_eq!(slash["data"]["name"], "echo");
    assert_eq!(
        slash["data"]["options"],
        json!([{ "name": "text", "type": 3, "value": "ship ahoy" }, { "name": "loud", "type": 5, "value": true }])
    );

    // A deferred answer says so until it comes; an ephemeral one is marked.
    bot.respond(&slash, json!({ "type": 5, "data": { "flags": 64 } })).await;
    page.until("document.querySelector('#discord .notice.thinking')").await;
    bot.edit_original(&slash, json!({ "content": "SHIP AHOY" })).await;
    page.until(&format!("{LAST}?.classList.contains('whisper')")).await;
    page.until(&format!("{LAST}.querySelector('.quote').textContent === '/echo by Ines'")).await;
    page.until("document.querySelector('#discord .notice.thinking') === null").await;

    // What the bot itself completes.
    page.write("/light place:br").await;
    let typed = loop {
        let typed = bot.event("INTERACTION_CREATE").await;
        let focused = &typed["data"]["options"][0];
        assert_eq!((typed["type"].as_u64(), focused["focused"].as_bool()), (Some(4), Some(true)));
        if focused["value"] == "br" {
            break typed;
        }
        bot.respond(&typed, json!({ "type": 8, "data": { "choices": [] } })).await;
    };
    let choices = json!([{ "name": "Bréhat", "value": "brehat" }, { "name": "Brest", "value": "brest" }]);
    bot.respond(&typed, json!({ "type": 8, "data": { "choices": choices } })).await;
    page.until("document.querySelectorAll('#discord .choice').length === 2").await;
    page.key("ArrowDown").await;
    page.until("document.querySelector('#discord [aria-selected=true] b').textContent === 'Brest'").await;
    page.key("Enter").await;
    page.until(&format!("{value} === '/light place:brest'")).await;
    assert!(page.complaints.is_empty(), "{:?}", page.complaints);
    page.close().await;
    sandbox.stop().await;
}

/// Every visible text against the colour behind it, after WCAG 2.2 AA; returns those that fail.
const WEAK_TEXTS: &str = r"(() => {
  const parse = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const over = (top, under) => {
    const alpha = top[3] ?? 1;
    return [0, 1, 2].map((i) => top[i] * alpha + under[i] * (1 - alpha));
  };
  const behind = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if ((color[3] ?? 1) > 0) layers.push(color);
      if ((color[3] ?? 1) === 1) break;
    }
    return layers.reduceRight((under, top) => over(top, under), [255, 255, 255]);
  };
  const light = (color) => {
    const [r, g, b] = color.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const weak = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const words = walker.currentNode.textContent.trim();
    const node = walker.currentNode.parentElement;
    if (!words || !node.checkVisibility({ visibilityProperty: true }) || node.closest(':disabled, [inert], option')) continue;
    const style = getComputedStyle(node);
    const back = behind(node);
    const [a, b] = [light(over(parse(style.color), back)), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) weak.push(`${ratio.toFixed(2)} ${node.tagName}.${node.className} ${words.slice(0, 30)}`);
  }
  return weak;
})()";

#[tokio::test]
async fn readable_on_desk_and_phone_by_day_and_night() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let mut bot = Bot::connect(&sandbox.http_url()).await;
    let channel = sandbox.discord().channels()[0].id.clone();
    let twitch = sandbox.twitch().channels()[0].login.clone();
    for (person, text) in [
        (Person::Olive, "Harbour lights are on. Welcome aboard!"),
        (Person::Noor, "a_very_long_word_that_never_ends_".repeat(12).as_str()),
        (Person::Max, "!about"),
    ] {
        sandbox.discord().say(person, &channel, text).unwrap();
        sandbox.twitch().say(person, &twitch, text).unwrap();
    }
    let asked = loop {
        let message = bot.message().await;
        if message["content"] == "!about" {
            break message;
        }
    };
    bot.reply(&asked, about()).await;
    let Some(mut page) = Page::open(&format!("{}/", sandbox.http_url())).await else { return };
    page.until("document.querySelectorAll('.log .msg').length === 7").await;
    page.eval("document.getElementById('drawer-open').click()").await;

    for (scheme, width, height, mobile) in [
        ("light", 1280, 800, false),
        ("dark", 1280, 800, false),
        ("light", 360, 740, true),
        ("dark", 360, 740, true),
    ] {
        page.look(scheme, width, height, mobile).await;
        for open in [true, false] {
            let is_open = format!("document.getElementById('drawer').inert !== {open}");
            page.eval(&format!("{is_open} || document.getElementById('drawer-open').click()")).await;
            page.until(&is_open).await;
            let wide = page.eval("document.documentElement.scrollWidth").await;
            assert!(wide.as_u64().unwrap() <= u64::from(width), "{scheme} {width}: page is {wide} wide");
            let weak = page.eval(WEAK_TEXTS).await;
            assert_eq!(weak, json!([]), "{scheme} {width} drawer {open}");
            page.picture(&format!("{scheme}-{width}-{}.png", if open { "drawer" } else { "chat" })).await;
        }
    }
    // On a phone one channel is shown, and the other is one touch away.
    page.eval("document.getElementById('tab-twitch').click()").await;
    page.until("document.getElementById('twitch').checkVisibility()").await;
    page.until("!document.getElementById('discord').checkVisibility()").await;
    assert!(page.complaints.is_empty(), "{:?}", page.complaints);
    page.close().await;
    sandbox.stop().await;
}

#[tokio::test]
async fn a_flood_keeps_the_page_bounded_and_a_lost_sandbox_is_found_again() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let Some(mut page) = Page::open(&format!("{}/", sandbox.http_url())).await else { return };
    let channel = sandbox.discord().channels()[0].id.clone();
    for n in 0..1000 {
        sandbox.discord().say(Person::Ines, &channel, &format!("line {n}")).unwrap();
    }
    page.until(&format!("{LAST}?.querySelector('.text').textContent === 'line 999'")).await;
    page.until("document.querySelectorAll('#discord .log > *').length <= 200").await;
    page.until("document.querySelector('#discord .newer').hidden").await;

    let address = sandbox.http_url().trim_start_matches("http://").parse().unwrap();
    sandbox.stop().await;
    page.until("!document.getElementById('lost').hidden").await;
    let sandbox = Sandbox::start(Options { http: address, ..Options::default() }).await.unwrap();
    page.until("document.getElementById('lost').hidden").await;
    let channel = sandbox.discord().channels()[0].id.clone();
    page.until("document.querySelectorAll('#discord .log .msg').length === 0").await;
    sandbox.discord().say(Person::Ines, &channel, "here again").unwrap();
    page.until(&format!("{LAST}?.querySelector('.text').textContent === 'here again'")).await;
    page.close().await;
    sandbox.stop().await;
}
