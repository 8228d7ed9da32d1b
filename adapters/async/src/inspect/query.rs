//! What a request asks for.

use hyper::StatusCode;

use super::answer::Refused;

/// How many rows an answer has if the request does not say.
const ROWS: usize = 200;

/// How many rows an answer has at most.
const MOST_ROWS: usize = 1000;

/// The longest filter, in bytes.
const LONGEST: usize = 512;

/// The query of a request.
#[derive(Debug, Default)]
pub(super) struct Query {
    /// What rows have to contain, in lower case.
    pub(super) filter: String,
    /// The group whose members are wanted.
    pub(super) group: Option<String>,
    /// The beginning of the key of the session whose connections are wanted.
    pub(super) session: Option<String>,
    pub(super) sort: String,
    pub(super) descending: bool,
    pub(super) rows: usize,
    /// The number of the first message that is wanted.
    pub(super) from: u64,
    /// The connection that has the session to close.
    pub(super) connection: Option<u64>,
}

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        const WRONG: Refused = Refused::new(StatusCode::BAD_REQUEST, "The query makes no sense.");
        let mut query = Self { rows: ROWS, ..Self::default() };
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            if value.len() > LONGEST {
                return Err(WRONG);
            }
            match &*name {
                "filter" => query.filter = value.trim().to_lowercase(),
                "group" => query.group = Some(value.into_owned()),
                "session" => query.session = Some(value.into_owned()),
                "sort" => query.sort = value.into_owned(),
                "order" => query.descending = value == "descending",
                "rows" => query.rows = value.parse().map_err(|_| WRONG)?,
                "from" => query.from = value.parse().map_err(|_| WRONG)?,
                "connection" => query.connection = Some(value.parse().map_err(|_| WRONG)?),
                _ => return Err(WRONG),
            }
        }
        query.rows = query.rows.clamp(1, MOST_ROWS);
        Ok(query)
    }

    /// Returns whether one of these texts contains what is wanted.
    pub(super) fn finds<T: AsRef<str>>(&self, texts: impl IntoIterator<Item = T>) -> bool {
        let contains = |text: T| text.as_ref().to_lowercase().contains(&self.filter);
        self.filter.is_empty() || texts.into_iter().any(contains)
    }
}

/// What rows are sorted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    Number(u64),
    Text(String),
}

/// The first rows of a sorted table, of which only those are kept.
#[derive(Debug)]
pub(super) struct Top<T> {
    rows: Vec<(By, u64, T)>,
    most: usize,
    descending: bool,
    /// How many rows there are.
    pub(super) matched: usize,
}

impl<T> Top<T> {
    pub(super) const fn new(query: &Query) -> Self {
        let (most, descending) = (query.rows, query.descending);
        Self { rows: Vec::new(), most, descending, matched: 0 }
    }

    /// Adds a row. Among equal ones, the lower `tie` comes first.
    pub(super) fn add(&mut self, by: By, tie: u64, row: T) {
        self.matched += 1;
        self.rows.push((by, tie, row));
        if self.rows.len() >= self.most.saturating_mul(2) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let descending = self.descending;
        self.rows.sort_by(|(one, tie, _), (other, other_tie, _)| {
            let order = one.cmp(other);
            let order = if descending { order.reverse() } else { order };
            order.then(tie.cmp(other_tie))
        });
        self.rows.truncate(self.most);
    }

    pub(super) fn into_rows(mut self) -> impl Iterator<Item = T> {
        self.cut();
        self.rows.into_iter().map(|(_, _, row)| row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_and_bounded() {
        let query =
            Query::parse("filter=+%C3%84+&group=a%26b&sort=age&order=descending&rows=7").unwrap();
        assert_eq!((&*query.filter, query.group.as_deref()), ("ä", Some("a&b")));
        assert_eq!((&*query.sort, query.descending, query.rows), ("age", true, 7));
        assert!(query.finds(["xÄx"]) && !query.finds(["a", "x"]));
        let query = Query::parse("").unwrap();
        assert_eq!((query.rows, query.finds([""]), query.finds::<&str>([])), (200, true, true));
        for (rows, expected) in [(0, 1), (1000, 1000), (1_000_000, 1000)] {
            assert_eq!(Query::parse(&format!("rows={rows}")).unwrap().rows, expected);
        }
        let long = format!("filter={}", "x".repeat(513));
        for wrong in ["rows=x", "rows=-1", "from=x", "connection=x", "unknown=1", &long] {
            Query::parse(wrong).unwrap_err();
        }
    }

    #[test]
    fn only_the_first_rows_are_kept() {
        for (order, expected) in [("ascending", [0, 1, 2]), ("descending", [99, 98, 97])] {
            let query = Query::parse(&format!("rows=3&order={order}")).unwrap();
            let mut top = Top::new(&query);
            // In an order of which none of them profits.
            for number in (0..100_u64).map(|number| number * 37 % 100) {
                top.add(By::Number(number), 0, number);
                assert!(top.rows.len() < 6);
            }
            assert_eq!(top.matched, 100);
            assert_eq!(top.into_rows().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn equal_rows_have_an_order() {
        for order in ["ascending", "descending"] {
            let mut top = Top::new(&Query::parse(&format!("order={order}")).unwrap());
            for tie in [3, 1, 2] {
                top.add(By::Text("same".into()), tie, tie);
            }
            assert_eq!(top.into_rows().collect::<Vec<_>>(), [1, 2, 3]);
        }
    }
}
