//! The files of the page. They hold no data, so they need no token.

use super::assets::{Asset, CSS, HTML, SCRIPT, SHARED};

const FILES: [Asset; 7] = [
    Asset::new("", HTML, include_str!("page/index.html")),
    Asset::new("style.css", CSS, include_str!("page/style.css")),
    Asset::new("main.js", SCRIPT, include_str!("page/main.js")),
    Asset::new("messages.js", SCRIPT, include_str!("page/messages.js")),
    Asset::new("server.js", SCRIPT, include_str!("page/server.js")),
    Asset::new("show.js", SCRIPT, include_str!("page/show.js")),
    Asset::new("totals.js", SCRIPT, include_str!("page/totals.js")),
];

/// Returns the file at a path.
pub(super) fn find(path: &str) -> Option<Asset> {
    let name = path.strip_prefix('/')?;
    FILES.into_iter().chain(SHARED).find(|file| file.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_make_no_markup_of_texts_and_load_nothing_from_elsewhere() {
        for Asset { name, text, .. } in FILES.into_iter().chain(SHARED) {
            for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(way), "{name} has {way}");
            }
            let addresses = text.match_indices("://").map(|(at, _)| &text[at..]);
            let foreign: Vec<_> =
                addresses.filter(|rest| !rest.starts_with("://www.w3.org/")).collect();
            assert!(foreign.is_empty(), "{name}: {foreign:?}");
            for inline in ["style=\"", "onclick", "<script>"] {
                assert!(!text.contains(inline), "{name} has {inline}, which its policy forbids");
            }
        }
    }
}
