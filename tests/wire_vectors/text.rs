//! UTF-16 payloads as text.

use bytes::{BufMut, BytesMut};
use serde::Deserialize;
use wwr::wire::{Message, decode};
use wwr::{Dialect, Encoding, Payload};

use crate::vectors::{Hex, UTF16, rows};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    hex: Hex,
    /// The reference's conversion, which destroys surrogate pairs.
    utf8_hex: Option<Hex>,
    correct_utf8_hex: Option<Hex>,
    error: Option<bool>,
}

#[test]
fn utf16_is_decoded_as_a_correct_decoder_does() {
    let (mut converted, mut refused, mut better) = (0, 0, 0);
    for row in rows::<Row>(UTF16) {
        let payload = Payload::new(Encoding::Utf16, row.hex.0.clone());
        let Some(correct) = row.correct_utf8_hex else {
            assert_eq!(row.error, Some(true));
            assert!(payload.is_err(), "{:?}", row.hex);
            refused += 1;
            continue;
        };
        let payload = payload.unwrap();
        assert_eq!(payload.text().unwrap().as_bytes(), &correct.0[..], "{:?}", row.hex);
        converted += 1;
        better += usize::from(row.utf8_hex != Some(correct));
    }
    assert_eq!((converted, refused), (412, 62));
    assert!(better > 0, "no row shows a surrogate pair");
}

#[test]
fn received_content_has_the_same_text_as_a_payload() {
    for row in rows::<Row>(UTF16) {
        let (Some(correct), false) = (row.correct_utf8_hex, row.hex.0.is_empty()) else { continue };
        let mut frame = BytesMut::from(&b"\x41\x03abc\0"[..]);
        frame.put_slice(&row.hex.0);
        let Ok(Message::Signal(content)) = decode(Dialect::V1_4, frame.freeze()) else {
            panic!("{:?} is no payload of a signal", row.hex);
        };
        assert_eq!(content.text().unwrap().as_bytes(), &correct.0[..]);
        assert_eq!(content.into_payload().text().unwrap().as_bytes(), &correct.0[..]);
    }
}
