//! What a page learns of its surroundings: whether there is a network, whether somebody looks at it, whether it
//! is left.

use std::rc::Weak;

use wasm_bindgen::prelude::*;
use web_sys::EventTarget;

use crate::browser::{global, property, text};
use crate::host::Host;

/// Events of the page or the worker, until this is dropped. There are none in Node.
pub(crate) struct Environment {
    handler: Closure<dyn FnMut(JsValue)>,
    targets: Vec<(EventTarget, &'static str)>,
}

impl Environment {
    pub(crate) fn watch(host: &Weak<Host>) -> Self {
        let host = host.clone();
        let handler = Closure::new(move |event: JsValue| {
            if let Some(host) = host.upgrade() {
                tell(&host, &event);
            }
        });
        let page: Option<EventTarget> = JsValue::from(js_sys::global()).dyn_into().ok();
        let document = document().and_then(|document| document.dyn_into::<EventTarget>().ok());
        let of_page = ["online", "pagehide", "pageshow"];
        let of_page = page.into_iter().flat_map(|page| of_page.map(|name| (page.clone(), name)));
        let of_document = document.map(|document| (document, "visibilitychange"));
        let targets: Vec<_> = of_page.chain(of_document).collect();
        for (target, name) in &targets {
            let _ = target.add_event_listener_with_callback(name, handler.as_ref().unchecked_ref());
        }
        Self { handler, targets }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        for (target, name) in &self.targets {
            let _ = target
                .remove_event_listener_with_callback(name, self.handler.as_ref().unchecked_ref());
        }
    }
}

fn tell(host: &Host, event: &JsValue) {
    match text(event, "type").as_deref() {
        // Tabs in the background come back in their time, and not all of them at once.
        Some("online" | "visibilitychange") if is_visible() => host.wake(),
        Some("pagehide") => host.leave(),
        Some("pageshow") => host.come_back(),
        Some(_) | None => {}
    }
}

fn document() -> Option<JsValue> {
    global("document")
}

/// Whether somebody looks at the page. Workers cannot tell, and count as being looked at.
fn is_visible() -> bool {
    document().is_none_or(|document| {
        property(&document, "hidden").and_then(|hidden| hidden.as_bool()) != Some(true)
    })
}
