//! How long it takes to read and to write one message.

use core::hint::black_box;
use core::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wwr::wire::{Encoder, Identifier, Message, decode};
use wwr::{Content, Dialect, Encoding, Payload};

const NAMES: [(Encoding, &str); 3] =
    [(Encoding::Binary, "binary"), (Encoding::Utf8, "utf8"), (Encoding::Utf16, "utf16")];
const SIZES: [(usize, &str); 3] = [(32, "32 B"), (1 << 10, "1 KiB"), (64 << 10, "64 KiB")];

/// A request, a reply and a signal, each of `size` bytes on the wire.
fn messages(encoding: Encoding, size: usize) -> [(&'static str, Message); 3] {
    let id = Identifier::from_counter(1);
    let payload = |header: usize| {
        Payload::new(encoding, vec![b'x'; size - header]).expect("an even number of bytes")
    };
    // Names of even length, so that UTF-16 needs no padding byte after them.
    let content = |header: usize| Content::new(b"name", &payload(header + 4)).expect("short");
    let padding = usize::from(encoding == Encoding::Utf16);
    [
        ("request", Message::Request { id, content: content(10) }),
        ("reply", Message::Reply { id, payload: payload(9 + padding) }),
        ("signal", Message::Signal(content(2))),
    ]
}

fn each(
    criterion: &mut Criterion,
    group: &str,
    mut measure: impl FnMut(&mut criterion::Bencher<'_>, &Message),
) {
    let mut group = criterion.benchmark_group(group);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for (size, size_name) in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        for (encoding, encoding_name) in NAMES {
            for (kind, message) in messages(encoding, size) {
                let id = BenchmarkId::new(format!("{kind} {encoding_name}"), size_name);
                group.bench_with_input(id, &message, &mut measure);
            }
        }
    }
    group.finish();
}

/// Of frames that are not counted, because taking and dropping a part of a counted one would take
/// about as long as reading it. Passing even these in and out takes time, which is measured too:
/// the difference is what reading costs.
fn decoding(criterion: &mut Criterion) {
    each(criterion, "decode", |bencher, message| {
        let frame = Encoder::new().encode(Dialect::V1_4, message).expect("valid");
        let frame = uncounted(&frame);
        bencher.iter(|| decode(Dialect::V1_4, black_box(Bytes::clone(&frame))));
    });
    let frame = vec![b'x'; 32];
    for (name, frame) in [("counted", Bytes::from(frame.clone())), ("uncounted", uncounted(&frame))]
    {
        // The first clone of a frame makes it a counted one.
        let shared = frame.clone();
        criterion.bench_function(&format!("pass a frame/{name}"), |bencher| {
            bencher.iter(|| black_box(Bytes::clone(&shared)));
        });
    }
}

fn uncounted(frame: &[u8]) -> Bytes {
    Bytes::from_static(Box::leak(Box::from(frame)))
}

fn encoding(criterion: &mut Criterion) {
    each(criterion, "encode", |bencher, message| {
        let mut encoder = Encoder::new();
        bencher.iter(|| encoder.encode(Dialect::V1_4, black_box(message)));
    });
}

criterion_group!(benches, decoding, encoding);
criterion_main!(benches);
