//! How fast it is, and that memory stays. Shown with `--nocapture`.

use serde_json::json;

use super::Page;
use crate::support::Server;

#[test]
fn memory_stays_the_same_over_a_hundred_thousand_requests() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    page.reload();
    let figures = page.run(&format!(
        "const started = performance.now();
         window.client = await wwr.connect({:?});
         const connected = performance.now() - started;
         const [wasm] = performance.getEntriesByType('resource').filter(({{ name }}) => name.endsWith('.wasm'));
         const timed = async (count, work) => {{
           const start = performance.now();
           await work(count);
           return Math.round((performance.now() - start) * 1000 / count);
         }};
         const one = async (count) => {{
           for (let at = 0; at < count; at += 1) await client.request('echo', 'hello');
         }};
         const burst = async (count) => {{
           const all = [];
           for (let at = 0; at < count; at += 1) all.push(client.request('echo', 'hello'));
           await Promise.all(all);
         }};
         await one(500);
         return {{
           loaded: Math.round(wasm.responseEnd - wasm.startTime), connected: Math.round(connected),
           one: await timed(2000, one), burst: await timed(2000, burst), again: await timed(2000, burst),
         }};",
        server.url()
    ));
    println!(
        "figures: WebAssembly loaded in {} ms, connected in {} ms; a request takes {} us one by one, {} and {} us \
         with 2,000 at once",
        figures["loaded"], figures["connected"], figures["one"], figures["burst"], figures["again"]
    );

    page.run(
        "window.core = await (await import('/wasm/wwr_web.js')).default();
         window.many = async (count) => {
           for (let done = 0; done < count; done += 1000) {
             await Promise.all(Array.from({ length: 1000 }, (_, at) => client.request('echo', `${done + at}`)));
           }
         };",
    );
    for _ in 0..4 {
        page.run("await many(5000)");
    }
    let before = page.run("return core.memory.buffer.byteLength");
    for _ in 0..20 {
        page.run("await many(5000)");
    }
    let after = page.run("return core.memory.buffer.byteLength");
    println!(
        "figures: WebAssembly has {before} bytes of memory after 20,000 requests, {after} after 100,000 more"
    );
    assert_eq!(before, after);
    assert_eq!(page.run("return await client.request('echo', 'x')"), json!("x"));
}
