//! Addresses that proxies name in headers, from the client to the nearest proxy.

use core::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;

/// Reads the addresses in a line of `X-Forwarded-For`. Calls `hop` with `None` for anything else,
/// and leaves out empty elements.
pub(super) fn x_forwarded_for(line: &[u8], mut hop: impl FnMut(Option<SocketAddr>)) {
    let elements = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    elements.filter(|element| !element.is_empty()).for_each(|element| hop(address(element)));
}

/// Reads the addresses in a line of `Forwarded` (RFC 7239 section 4): the `for` of each element.
/// Calls `hop` with `None` for anything else, and leaves out empty elements.
pub(super) fn forwarded(line: &[u8], mut hop: impl FnMut(Option<SocketAddr>)) {
    let mut rest = Some(line);
    while let Some(line) = rest {
        let Some((element, after)) = split_unquoted(line, b',') else { return hop(None) };
        if !element.trim_ascii().is_empty() {
            hop(node(element).and_then(|node| address(&node)));
        }
        rest = after;
    }
}

/// Returns the value of the only `for` of an element.
fn node(element: &[u8]) -> Option<SmallVec<[u8; 64]>> {
    let (mut node, mut rest) = (None, Some(element));
    while let Some(pairs) = rest {
        let (pair, after) = split_unquoted(pairs, b';')?;
        rest = after;
        let pair = pair.trim_ascii();
        if pair.is_empty() {
            continue;
        }
        let (name, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
        if name.trim_ascii().eq_ignore_ascii_case(b"for") {
            if node.is_some() {
                return None;
            }
            node = Some(unquoted(value.get(1..)?.trim_ascii())?);
        }
    }
    node
}

/// Returns what stands before and after the first such byte outside of quotes. `None` if a quote is
/// left open.
fn split_unquoted(text: &[u8], at: u8) -> Option<(&[u8], Option<&[u8]>)> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if *byte == at && !quoted => {
                return Some((text.get(..index)?, text.get(index + 1..)));
            }
            _ => {}
        }
    }
    (!quoted).then_some((text, None))
}

/// Returns a token or the inside of a quoted string.
fn unquoted(value: &[u8]) -> Option<SmallVec<[u8; 64]>> {
    let Some(inside) = value.strip_prefix(b"\"") else {
        return Some(SmallVec::from_slice(value));
    };
    let inside = inside.strip_suffix(b"\"")?;
    let (mut text, mut escaped) = (SmallVec::new(), false);
    for byte in inside {
        match byte {
            b'\\' if !escaped => escaped = true,
            byte => {
                escaped = false;
                text.push(*byte);
            }
        }
    }
    Some(text)
}

/// Reads an address with or without a port, with or without the brackets of IPv6. A missing port is
/// 0. `None` for `unknown`, for names such as `_hidden`, and for anything else.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let text = core::str::from_utf8(text).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let alone = text.parse().ok().or_else(bracketed).map(|address| SocketAddr::new(address, 0));
    // A port may be obfuscated (RFC 7239 section 6.3).
    let hidden = || {
        let (node, port) = text.rsplit_once(':')?;
        let node = if port.starts_with('_') { node } else { return None };
        let inside = node.strip_prefix('[').and_then(|node| node.strip_suffix(']'));
        Some(SocketAddr::new(inside.unwrap_or(node).parse().ok()?, 0))
    };
    let mut found = alone.or_else(|| text.parse().ok()).or_else(hidden)?;
    if matches!(found, SocketAddr::V6(address) if address.scope_id() != 0) {
        return None;
    }
    found.set_ip(found.ip().to_canonical());
    Some(found)
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    use super::*;

    fn hops(read: impl FnOnce(&mut dyn FnMut(Option<SocketAddr>))) -> Vec<String> {
        let mut hops = Vec::new();
        read(&mut |hop| hops.push(hop.map_or_else(|| "?".into(), |hop| hop.to_string())));
        hops
    }

    #[test]
    fn x_forwarded_for_is_a_list_of_addresses() {
        for (line, expected) in [
            ("", &[][..]),
            (" , ,", &[]),
            ("192.0.2.1", &["192.0.2.1:0"]),
            ("192.0.2.1:8080,10.0.0.1", &["192.0.2.1:8080", "10.0.0.1:0"]),
            ("2001:db8::1", &["[2001:db8::1]:0"]),
            ("[2001:db8::1]", &["[2001:db8::1]:0"]),
            ("[2001:db8::1]:443", &["[2001:db8::1]:443"]),
            ("::ffff:192.0.2.1", &["192.0.2.1:0"]),
            ("unknown, _hidden, 1.2.3, 1.2.3.4.5, localhost", &["?", "?", "?", "?", "?"]),
            ("192.0.2.1:99999, [::1, \"192.0.2.1\", \u{fc}", &["?", "?", "?", "?"]),
            ("fe80::1%3, [fe80::1%3]:1", &["?", "?"]),
        ] {
            assert_eq!(hops(|hop| x_forwarded_for(line.as_bytes(), hop)), expected, "{line}");
        }
        assert_eq!(hops(|hop| x_forwarded_for(b"\xff", hop)), ["?"]);
    }

    #[test]
    fn forwarded_names_an_address_in_each_element() {
        for (line, expected) in [
            ("", &[][..]),
            (",", &[]),
            ("for=192.0.2.1", &["192.0.2.1:0"]),
            ("FOR=192.0.2.1;proto=https;by=203.0.113.43", &["192.0.2.1:0"]),
            ("by=203.0.113.43 ; For = \"192.0.2.1\" ;", &["192.0.2.1:0"]),
            ("for=\"192.0.2.1:47011\"", &["192.0.2.1:47011"]),
            ("for=192.0.2.1:47011", &["192.0.2.1:47011"]),
            ("for=\"[2001:db8:cafe::17]:4711\"", &["[2001:db8:cafe::17]:4711"]),
            ("for=\"[2001:db8:cafe::17]\", for=10.0.0.1", &["[2001:db8:cafe::17]:0", "10.0.0.1:0"]),
            ("for=\"192.0.2.1:_hidden\"", &["192.0.2.1:0"]),
            ("for=\"[::1]:_p\"", &["[::1]:0"]),
            ("for=\"192\\.0.2.1\"", &["192.0.2.1:0"]),
            ("host=\"a,for=1.1.1.1;b\\\"\";for=192.0.2.1", &["192.0.2.1:0"]),
            ("for=unknown, for=_SEVKISEK, for=\"_gazonk:80\", for=", &["?", "?", "?", "?"]),
            ("proto=https, for=192.0.2.1", &["?", "192.0.2.1:0"]),
            ("for=192.0.2.1;for=192.0.2.2", &["?"]),
            ("192.0.2.1", &["?"]),
            ("for=192.0.2.1;x", &["?"]),
            ("for=\"192.0.2.1", &["?"]),
            ("for=192.0.2.1, for=\"192.0.2.2, for=192.0.2.3", &["192.0.2.1:0", "?"]),
        ] {
            assert_eq!(hops(|hop| forwarded(line.as_bytes(), hop)), expected, "{line}");
        }
    }
}
