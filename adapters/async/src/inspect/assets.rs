//! The files of the page. They hold no data, so they need no token.

use bytes::Bytes;
use hyper::Response;

use super::answer::content;

/// Path, type and text of each file.
const FILES: [(&str, &str, &str); 8] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/main.js", "text/javascript; charset=utf-8", include_str!("page/main.js")),
    ("/messages.js", "text/javascript; charset=utf-8", include_str!("page/messages.js")),
    ("/server.js", "text/javascript; charset=utf-8", include_str!("page/server.js")),
    ("/show.js", "text/javascript; charset=utf-8", include_str!("page/show.js")),
    ("/totals.js", "text/javascript; charset=utf-8", include_str!("page/totals.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// Returns the file at a path.
pub(super) fn find(path: &str) -> Option<Response<Bytes>> {
    let (_, kind, text) = FILES.into_iter().find(|(at, ..)| *at == path)?;
    Some(content(kind, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_make_no_markup_of_texts_and_load_nothing_from_elsewhere() {
        for (path, _, text) in FILES {
            for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(way), "{path} has {way}");
            }
            let addresses = text.match_indices("://").map(|(at, _)| &text[at..]);
            let foreign: Vec<_> =
                addresses.filter(|rest| !rest.starts_with("://www.w3.org/")).collect();
            assert!(foreign.is_empty(), "{path}: {foreign:?}");
            for inline in ["style=\"", "onclick", "<script>"] {
                assert!(!text.contains(inline), "{path} has {inline}, which its policy forbids");
            }
        }
    }
}
