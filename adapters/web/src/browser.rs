//! What every JavaScript host has: timers, clocks, random bytes, `fetch`. In pages, workers, Node and Deno alike.

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::prelude::*;
use web_sys::RequestInit;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    pub(crate) fn set_timeout(handler: &Function, milliseconds: i32) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    pub(crate) fn clear_timeout(timer: &JsValue);
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    pub(crate) fn performance_now() -> f64;
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(bytes: &mut [u8]);
    #[wasm_bindgen(js_name = fetch)]
    pub(crate) fn fetch(url: &str, request: &RequestInit) -> Promise;
}

/// Returns random bits.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    get_random_values(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Returns a property of the global object, if there is one and it may be read: reading the storage of a page in
/// a sandbox throws.
pub(crate) fn global(name: &str) -> Option<JsValue> {
    property(&js_sys::global(), name)
}

pub(crate) fn property(object: &JsValue, name: &str) -> Option<JsValue> {
    let value = Reflect::get(object, &JsValue::from_str(name)).ok();
    value.filter(|value| !value.is_undefined() && !value.is_null())
}

/// Returns the text of a property, if it is one.
pub(crate) fn text(object: &JsValue, name: &str) -> Option<String> {
    property(object, name).and_then(|value| value.as_string())
}
