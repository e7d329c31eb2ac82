//! Reading figures from the probe's `/metrics`.

use std::collections::BTreeMap;

/// One scrape.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    series: Vec<Series>,
}

#[derive(Debug)]
pub(crate) struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Series {
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

impl Exposition {
    /// Lines that are no series, such as comments, are passed over.
    pub(crate) fn parse(text: &str) -> Self {
        Self { series: text.lines().filter(|line| !line.starts_with('#')).filter_map(series).collect() }
    }

    /// The series of a name that have these labels; an empty value stands for no such label.
    pub(crate) fn series<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Series> {
        let of_name = self.series.iter().filter(move |series| series.name == name);
        of_name.filter(|series| labels.iter().all(|(label, value)| series.label(label) == *value))
    }

    /// Their sum. A counter without series has counted nothing yet.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(name, labels).map(|series| series.value).sum()
    }
}

/// Reads `name{label="value",..} 1.5`.
fn series(line: &str) -> Option<Series> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, mut rest) = line.split_at_checked(end)?;
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(label.to_owned(), value);
            rest = after;
        }
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Series { name: name.to_owned(), labels, value })
}

/// The text up to the closing quote, and what comes after.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(match characters.next()? {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_what_has_the_labels_and_not_the_parts_of_it() {
        let scrape = Exposition::parse(
            "# TYPE pages_total counter\n\
             pages_total{kind=\"asked\",name=\"a\"} 3\n\
             pages_total{kind=\"asked\",name=\"b, \\\"}\"} 4 1700000000\n\
             pages_total{kind=\"asked\",name=\"a\",topic=\"t\"} 100\n\
             up 1\nbroken{\n",
        );
        assert_eq!(scrape.sum("pages_total", &[("kind", "asked"), ("topic", "")]), 7.0);
        assert_eq!(scrape.sum("pages_total", &[("name", "b, \"}")]), 4.0);
        assert_eq!(scrape.sum("up", &[]), 1.0);
        assert_eq!(scrape.sum("down", &[]), 0.0);
    }
}
