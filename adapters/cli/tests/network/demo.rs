//! `wwr demo`.

use crate::support::run;

#[test]
fn the_demo_tells_its_story_without_colours_when_piped() {
    let ran = run(&["demo"]);
    let story = ran.text();
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{story}");
    assert!(!story.contains('\u{1b}'), "{story}");
    let steps = [
        "1. A server listens, a client connects",
        "2. Requests, in three encodings",
        "3. A request that fails",
        "4. Signals, which have no reply",
        "5. A login",
        "6. The connection is cut",
        "7. A request made while offline",
        "8. A second client shares the session",
        "9. A graceful shutdown",
        "That was WebWire",
    ];
    let places = steps.map(|step| story.find(step).unwrap_or_else(|| panic!("{step}: {story}")));
    assert!(places.is_sorted(), "{story}");
    // What passed is what the protocol says, as far as it is the same every time.
    for message in [
        "-> WEBWIRE / HTTP/1.1",
        r#"<- HTTP/1.1 200 OK {"protocol-version":"1.4"}"#,
        "7f0100000000000000046563686f00ff",
        "bf010000000000000000ff",
        "40046563686f70696e67",
        "<- WebSocket close 1000",
        "<- WebSocket close 1001",
    ] {
        assert!(story.contains(message), "{message}: {story}");
    }
}
