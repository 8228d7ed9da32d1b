//! Whole heads, and what comes of them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::*;
use crate::preflight::{Metadata, Promise};
use crate::server::Observed;

const HANDSHAKE: [(&str, &str); 5] = [
    ("host", "example.com"),
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn head<'a>(method: &'a str, headers: &[(&'a str, &'a str)]) -> Head<'a> {
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
    Head::new(method, "/", HttpVersion::Http11, headers)
}

/// The handshake with other values for some headers, without those that are empty, with those that are
/// new.
fn handshake<'a>(method: &'a str, changes: &[(&'a str, &'a str)]) -> Head<'a> {
    let named = |name| changes.iter().any(|(changed, _)| *changed == name);
    let kept = HANDSHAKE.into_iter().filter(|(name, _)| !named(*name));
    let headers = kept.chain(changes.iter().copied().filter(|(_, value)| !value.is_empty()));
    head(method, &headers.collect::<Vec<_>>())
}

fn terms(metadata: Option<Metadata>) -> Terms<'static> {
    Terms { metadata, origins: &Origins::SameHost, selects_wwr1: true, shutting_down: false }
}

/// Why a request is refused, if the application allows it.
fn refusal(head: &Head<'_>) -> Option<Refusal> {
    match decide(head, &terms(Some(Metadata::V1_4))) {
        Decision::Refuse(refusal) | Decision::Ask { upgrade: Err(refusal) } => Some(refusal),
        Decision::Ask { upgrade: Ok(_) }
        | Decision::Preflight { .. }
        | Decision::Options { .. } => None,
    }
}

#[test]
fn a_handshake_is_accepted_with_the_hash_of_its_key() {
    let decision = decide(&handshake("GET", &[]), &terms(None));
    let Decision::Ask { upgrade: Ok(accept) } = decision else { panic!("{decision:?}") };
    assert_eq!(accept.as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let answer = Answer::switching(&accept);
    let headers = answer.headers.iter().map(|(name, value)| (*name, &**value));
    let expected = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ];
    assert_eq!((answer.status, headers.collect::<Vec<_>>()), (101, expected.into()));
    assert!(answer.body.is_empty());
}

#[test]
fn wwr_1_is_selected_if_it_is_offered_and_spoken_and_nothing_else_is() {
    const OFFER: &str = "sec-websocket-protocol";
    for (offers, offered) in [
        (&[][..], false),
        (&[(OFFER, "wwr.1")], true),
        (&[(OFFER, "chat, wwr.1 ,x")], true),
        (&[(OFFER, "chat"), ("Sec-WebSocket-Protocol", "wwr.1")], true),
        (&[(OFFER, "chat")], false),
        (&[(OFFER, "chat, superchat")], false),
        (&[(OFFER, "wwr.2")], false),
        (&[(OFFER, "WWR.1")], false),
        (&[(OFFER, "wwr.1x, x.wwr.1")], false),
        (&[(OFFER, ",")], false),
    ] {
        for selects_wwr1 in [true, false] {
            let terms = Terms { selects_wwr1, ..terms(Some(Metadata::V1_4)) };
            let decision = decide(&handshake("GET", offers), &terms);
            let Decision::Ask { upgrade: Ok(accept) } = decision else { panic!("{decision:?}") };
            let agreed = offered && selects_wwr1;
            assert_eq!(accept.sub_protocol().is_some(), agreed, "{offers:?}");
            let observed = if agreed { Observed::SubProtocol } else { Observed::Nothing };
            assert_eq!(accept.observed(), observed);
            let headers = Answer::switching(&accept).headers;
            let selected = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(OFFER));
            let expected = agreed.then_some("wwr.1");
            assert_eq!(selected.map(|(_, value)| &**value), expected, "{offers:?}");
            assert_eq!(headers.len(), if agreed { 4 } else { 3 });
            // A preflight that says so tells nothing about other clients of its address.
            let asked: Vec<_> = [("host", "h")].into_iter().chain(offers.iter().copied()).collect();
            let preflight = Decision::Preflight { metadata: Metadata::V1_4, noted: !agreed };
            assert_eq!(decide(&head("WEBWIRE", &asked), &terms), preflight, "{offers:?}");
        }
    }
}

#[test]
fn requests_are_classified() {
    let known = terms(Some(Metadata::V1_4));
    let host = [("host", "h")];
    let preflight = Decision::Preflight { metadata: Metadata::V1_4, noted: true };
    assert_eq!(decide(&head("WEBWIRE", &host), &known), preflight);
    for (accept, names) in [
        ("", false),
        ("*/*", false),
        ("application/json", false),
        ("application/vnd.webwire.names+json", true),
        ("text/html, Application/vnd.WebWire.names+JSON", true),
    ] {
        let headers = [("host", "h"), ("accept", accept)];
        assert_eq!(decide(&head("OPTIONS", &headers), &known), Decision::Options { names });
        // Nothing else changes by it.
        assert_eq!(decide(&head("WEBWIRE", &headers), &known), preflight);
    }
    let unknown = terms(None);
    let decision = decide(&head("WEBWIRE", &host), &unknown);
    assert_eq!(decision, Decision::Ask { upgrade: Err(Refusal::NoPreflight) });
    let ending = Terms { shutting_down: true, ..known };
    for method in ["WEBWIRE", "OPTIONS", "GET", "POST"] {
        let all = [head(method, &host), head(method, &[]), handshake(method, &[])];
        for head in all {
            assert_eq!(decide(&head, &ending), Decision::Refuse(Refusal::ShuttingDown));
        }
    }
}

#[test]
fn pages_that_may_connect_read_why_they_are_refused() {
    let listed: Origins = Origins::List(["https://app.example".parse().unwrap()].into());
    for (origins, sent, shared) in [
        (&listed, Some("https://app.example"), true),
        (&listed, Some("https://evil.example"), false),
        (&listed, Some("http://example.com"), false),
        (&listed, None, false),
        (&Origins::SameHost, Some("http://example.com"), true),
        (&Origins::SameHost, Some("https://app.example"), false),
        (&Origins::Any, Some("https://evil.example"), true),
        (&Origins::Any, Some("null"), true),
        (&Origins::Any, Some("https://evil.example\r\nx: y"), false),
        (&Origins::Any, Some("*"), false),
    ] {
        let terms = Terms { origins, ..terms(None) };
        for refusal in ALL {
            let head = handshake("WEBWIRE", &[("origin", sent.unwrap_or(""))]);
            let answer = Answer::refusal(refusal, &head, &terms);
            let allowed = header(&answer, "Access-Control-Allow-Origin");
            assert_eq!(allowed, sent.filter(|_| shared), "{origins:?} {sent:?}");
            let exposed = header(&answer, "Access-Control-Expose-Headers");
            assert_eq!(exposed, shared.then_some("Retry-After, webwire-accept-conf"));
            assert_eq!(header(&answer, "Vary"), Some("Origin"), "caches keep them apart");
        }
    }
}

#[test]
fn whoever_asks_by_a_preflight_learns_whether_an_offer_of_wwr_1_is_worthwhile() {
    let named = |answer: &Answer| header(answer, "webwire-accept-conf").map(String::from);
    for (promise, value) in [
        (None, None),
        (Some(Promise { wwr1: false }), Some("2.0")),
        (Some(Promise { wwr1: true }), Some("2.0, wwr.1")),
    ] {
        let answer = Answer::preflight(&Metadata::V1_4, promise);
        assert_eq!(named(&answer).as_deref(), value);
        let exposed = header(&answer, "Access-Control-Expose-Headers");
        assert_eq!(exposed, value.map(|_| "webwire-accept-conf"), "pages may read it");
    }
    // A server without metadata says so with its refusal.
    for (selects_wwr1, value) in [(true, "2.0, wwr.1"), (false, "2.0")] {
        let terms = Terms { selects_wwr1, ..terms(None) };
        for refusal in ALL {
            let answer = Answer::refusal(refusal, &head("WEBWIRE", &[]), &terms);
            let is_said = refusal == Refusal::NoPreflight;
            assert_eq!(named(&answer).as_deref(), is_said.then_some(value), "{refusal:?}");
        }
    }
}

#[test]
fn during_a_shutdown_browsers_are_told_which_pages_may_read_the_refusal() {
    let ending = Terms { shutting_down: true, ..terms(Some(Metadata::V1_4)) };
    let asked = ("access-control-request-method", "WEBWIRE");
    let page = ("origin", "http://example.com");
    let refused = Decision::Refuse(Refusal::ShuttingDown);
    for (method, headers, expected) in [
        ("OPTIONS", &[asked, page][..], Decision::Options { names: false }),
        ("OPTIONS", &[asked, ("origin", "http://evil.example")], refused.clone()),
        ("OPTIONS", &[asked], refused.clone()),
        ("OPTIONS", &[page], refused.clone()),
        ("WEBWIRE", &[asked, page], refused.clone()),
        ("GET", &[asked, page], refused),
    ] {
        assert_eq!(decide(&handshake(method, headers), &ending), expected, "{method} {headers:?}");
    }
}

#[test]
fn each_fault_has_a_reason_of_its_own() {
    use Refusal::*;
    for (changes, expected) in [
        (&[][..], None),
        (&[("origin", "http://example.com")], None),
        (&[("origin", "http://evil.com")], Some(OriginNotAllowed)),
        (&[("origin", "http://evil.com"), ("connection", "")], Some(OriginNotAllowed)),
        (&[("host", "")], Some(NoHost)),
        (&[("host", "a"), ("host", "b")], Some(SeveralHosts)),
        (&[("host", "a b")], Some(InvalidHost)),
        (&[("content-length", "x")], Some(InvalidLength)),
        (&[("content-length", "1")], Some(Body)),
        (&[("content-length", "0")], None),
        (&[("transfer-encoding", "chunked")], Some(Body)),
        (&[("expect", "100-continue")], None),
        (&[("upgrade", "")], Some(NoWebSocket)),
        (&[("upgrade", "h2c")], Some(NoWebSocket)),
        (&[("upgrade", "h2c, WebSocket")], None),
        (&[("connection", "")], Some(NoConnectionUpgrade)),
        (&[("connection", "keep-alive, upgrade")], None),
        (&[("sec-websocket-version", "")], Some(WrongVersion)),
        (&[("sec-websocket-version", "8")], Some(WrongVersion)),
        (
            &[("sec-websocket-version", "13"), ("sec-websocket-version", "13")],
            Some(SeveralVersions),
        ),
        (&[("sec-websocket-key", "")], Some(NoKey)),
        (&[("sec-websocket-key", "a"), ("sec-websocket-key", "b")], Some(SeveralKeys)),
        (&[("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAAAA")], Some(InvalidKey)),
        (&[("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")], None),
        (&[("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAB==")], None),
    ] {
        assert_eq!(refusal(&handshake("GET", changes)), expected, "{changes:?}");
    }
    for method in ["POST", "HEAD", "get", "BREW"] {
        assert_eq!(refusal(&handshake(method, &[])), Some(MethodNotAllowed), "{method}");
    }
    let plain = |method| refusal(&head(method, &[("host", "h")]));
    assert_eq!([plain("GET"), plain("HEAD")], [Some(NoWebSocket); 2]);
    assert_eq!([plain("POST"), plain("webwire")], [Some(MethodNotAllowed); 2]);
    let old = HANDSHAKE.map(|(name, value)| (name, value.as_bytes()));
    let old = Head::new("GET", "/", HttpVersion::Http10, old);
    assert_eq!(refusal(&old), Some(Http10));
}

/// All refusals there are.
const ALL: [Refusal; Refusal::COUNT] = [
    Refusal::ShuttingDown,
    Refusal::TooManyConnections,
    Refusal::NoHost,
    Refusal::SeveralHosts,
    Refusal::InvalidHost,
    Refusal::InvalidTarget,
    Refusal::InvalidLength,
    Refusal::OriginNotAllowed,
    Refusal::Body,
    Refusal::NoWebSocket,
    Refusal::NoConnectionUpgrade,
    Refusal::Http10,
    Refusal::MethodNotAllowed,
    Refusal::NoPreflight,
    Refusal::WrongVersion,
    Refusal::SeveralVersions,
    Refusal::NoKey,
    Refusal::SeveralKeys,
    Refusal::InvalidKey,
    Refusal::NoHttp,
    Refusal::NoTls,
    Refusal::TlsFailed,
    Refusal::TlsTimeout,
    Refusal::HeadTooLong,
    Refusal::HeadTimeout,
    Refusal::HandshakeTimeout,
    Refusal::Evicted,
    Refusal::NoProxyHeader,
    Refusal::ByApplication,
];

#[test]
fn refusals_are_numbered_without_a_gap_and_have_different_reasons() {
    for (index, refusal) in ALL.into_iter().enumerate() {
        assert_eq!(refusal as usize, index);
        assert!((400..=599).contains(&refusal.status()), "{refusal:?}");
        let reason = refusal.reason();
        assert!(!reason.is_empty() && !reason.ends_with('.'), "{reason}");
        assert!(ALL.iter().skip(index + 1).all(|other| other.reason() != reason), "{reason}");
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut values = answer.headers.iter().filter(|(one, _)| *one == name);
    let value = values.next().map(|(_, value)| &**value);
    assert!(values.next().is_none(), "{name} is there twice");
    value
}

fn body(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[test]
fn a_refusal_for_want_of_tls_names_the_scheme_and_ends_the_socket() {
    let head = handshake("GET", &[]);
    let answer = Answer::refusal(Refusal::NoTls, &head, &terms(None));
    assert_eq!((answer.status, header(&answer, "Connection")), (400, Some("close")));
    let text = body(&answer);
    for part in ["not TLS", "https or wss", "wwr request wss://"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_refusal_says_why_and_may_explain_how_to_connect() {
    let head = handshake("GET", &[]);
    for refusal in ALL {
        let answer = Answer::refusal(refusal, &head, &terms(Some(Metadata::V1_4)));
        assert_eq!(answer.status, refusal.status());
        assert_eq!(header(&answer, "Content-Type"), Some("text/plain; charset=utf-8"));
        let text = body(&answer);
        assert_eq!(text.lines().next(), Some(refusal.reason()));
        let scheme = if refusal == Refusal::NoTls { "wss" } else { "ws" };
        let helps = text.contains(&format!("wwr request {scheme}://example.com/ "));
        assert_eq!(helps, matches!(answer.status, 400 | 403 | 405 | 426), "{refusal:?}: {text}");
        let asks = answer.status == 426;
        assert_eq!(header(&answer, "Upgrade").is_some(), asks, "{refusal:?}");
        let names = matches!(answer.status, 400 | 405 | 426);
        assert_eq!(header(&answer, "Sec-WebSocket-Version"), names.then_some("13"), "{refusal:?}");
        assert_eq!(header(&answer, "Allow").is_some(), answer.status == 405, "{refusal:?}");
    }
    let answer = Answer::refusal(Refusal::ShuttingDown, &head, &terms(None));
    assert_eq!(body(&answer), "Server shutting down\n");
    assert_eq!(header(&answer, "Connection"), Some("close"));
}

#[test]
fn a_refusal_behind_a_body_ends_the_socket() {
    let metadata = Some(Metadata::V1_4);
    for (length, refusal, connection) in [
        ("5", Refusal::Body, Some("close")),
        ("5", Refusal::OriginNotAllowed, Some("close")),
        ("5", Refusal::MethodNotAllowed, Some("close")),
        ("5", Refusal::WrongVersion, Some("Upgrade, close")),
        ("0", Refusal::OriginNotAllowed, None),
        ("0", Refusal::WrongVersion, Some("Upgrade")),
        ("0", Refusal::NoHost, Some("close")),
    ] {
        let head = handshake("GET", &[("content-length", length)]);
        let answer = Answer::refusal(refusal, &head, &terms(metadata));
        assert_eq!(header(&answer, "Connection"), connection, "{length} {refusal:?}");
    }
}

#[test]
fn allow_lists_only_methods_that_are_answered() {
    let head = head("POST", &[("host", "h")]);
    for (metadata, allowed) in
        [(Some(Metadata::V1_4), "GET, OPTIONS, WEBWIRE"), (None, "GET, OPTIONS")]
    {
        let answer = Answer::refusal(Refusal::MethodNotAllowed, &head, &terms(metadata));
        assert_eq!(header(&answer, "Allow"), Some(allowed));
    }
}

/// What a page could make a browser ask for is shown only as far as it is a host.
#[test]
fn the_text_repeats_nothing_but_a_host() {
    for (host, shown) in [("h:1", "ws://h:1/"), ("<script>", "ws://HOST:PORT/"), ("", "HOST:PORT")]
    {
        let headers = [("host", host)];
        let answer = Answer::refusal(Refusal::NoWebSocket, &head("GET", &headers), &terms(None));
        let text = body(&answer);
        assert!(text.contains(shown) && !text.contains('<'), "{text}");
    }
}

#[test]
fn the_application_selects_one_sub_protocol_of_those_that_are_offered() {
    const NAME: &str = "sec-websocket-protocol";
    for (offered, chosen, selected, observed) in [
        ("chat, token.x", "token.x", Ok(Some("token.x")), Observed::Nothing),
        ("chat, token.x", "chat", Ok(Some("chat")), Observed::Nothing),
        // There is one value. Both sides may rely on `wwr.1`, so it comes first.
        ("chat, wwr.1", "chat", Ok(Some("wwr.1")), Observed::SubProtocol),
        ("wwr.1", "wwr.1", Ok(Some("wwr.1")), Observed::SubProtocol),
        ("chat", "Chat", Err(None), Observed::Nothing),
        ("chat", "", Err(None), Observed::Nothing),
        ("wwr.1", "chat", Err(Some("wwr.1")), Observed::SubProtocol),
        ("a b", "a b", Err(None), Observed::Nothing),
    ] {
        let offer = [(NAME, offered)];
        let decision = decide(&handshake("GET", &offer), &terms(None));
        let Decision::Ask { upgrade: Ok(mut accept) } = decision else { panic!("{decision:?}") };
        let chose = accept.select(chosen, offer.map(|(name, value)| (name, value.as_bytes())));
        let result = (chose, accept.sub_protocol());
        let expected = match selected {
            Ok(selected) => (Ok(()), selected),
            Err(selected) => (Err(NotSelectable), selected),
        };
        assert_eq!(result, expected, "{offered}: {chosen}");
        assert_eq!(accept.observed(), observed, "{offered}: {chosen}");
        let answer = Answer::switching(&accept);
        let sent: Vec<_> =
            answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(NAME)).collect();
        assert_eq!(
            sent.iter().map(|(_, value)| &**value).next(),
            expected.1,
            "{offered}: {chosen}"
        );
        assert!(sent.len() <= 1);
    }
}

#[test]
fn without_wwr_1_an_application_selects_any_other() {
    let offer = [("sec-websocket-protocol", "wwr.1, chat")];
    let headers = || offer.map(|(name, value)| (name, value.as_bytes()));
    let terms = Terms { selects_wwr1: false, ..terms(None) };
    let Decision::Ask { upgrade: Ok(mut accept) } = decide(&handshake("GET", &offer), &terms)
    else {
        panic!("it is a handshake")
    };
    assert_eq!(accept.select("wwr.1", headers()), Err(NotSelectable), "it is not spoken");
    assert_eq!(accept.sub_protocol(), None);
    assert_eq!(accept.select("chat", headers()), Ok(()));
    assert_eq!((accept.sub_protocol(), accept.observed()), (Some("chat"), Observed::Nothing));
}
