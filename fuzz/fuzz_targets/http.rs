//! Any bytes on two connections of a whole server, from the request line to the last WebSocket
//! frame: nothing panics, what the server sends is HTTP and then WebSocket, no task is left behind.
//!
//! The server runs on one thread and on streams in memory, until nothing more happens.
#![no_main]

mod http_world;

use libfuzzer_sys::arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;

use http_world::World;
use http_world::script::{Pieces, Script};
use http_world::setting::Setting;

// After the settings, the first byte chooses whether the rest is what the clients send as it is, or
// what they make of it.
fuzz_target!(|input: &[u8]| {
    let mut u = Unstructured::new(input);
    let Ok((setting, made)) = <(Setting, bool)>::arbitrary(&mut u) else { return };
    let scripts = if made {
        let Ok(scripts) = <[Script<'_>; 2]>::arbitrary_take_rest(u) else { return };
        scripts.map(|script| script.pieces())
    } else {
        let rest = u.take_rest();
        [Pieces::whole(rest), Pieces::single_bytes(rest)]
    };
    let mut world = World::new(&setting);
    world.play(&scripts);
    world.serve_another(setting.max_message() as usize);
    world.finish();
});
