//! Java properties files, as far as brokers and ZooKeeper are configured by them: `java.util.Properties.load`.

use std::collections::HashMap;

/// Keys and values; the last of a key wins.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties(HashMap<String, String>);

impl Properties {
    pub(crate) fn parse(file: &[u8]) -> Self {
        let mut properties = Self::default();
        let file = String::from_utf8_lossy(file);
        let mut lines = file.lines();
        while let Some(line) = lines.next() {
            let line = line.trim_start();
            if line.starts_with(['#', '!']) {
                continue;
            }
            let mut logical = line.to_owned();
            // An odd number of backslashes at the end: the next line belongs to this one.
            while logical.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1 {
                logical.pop();
                let Some(next) = lines.next() else { break };
                logical.push_str(next.trim_start());
            }
            properties.entry(&logical);
        }
        properties
    }

    /// Sets what `key=value` says.
    pub(crate) fn entry(&mut self, line: &str) {
        let mut key = String::new();
        let mut characters = line.chars();
        let mut ended = None;
        while let Some(character) = characters.next() {
            match character {
                '\\' => unescape(&mut characters, &mut key),
                '=' | ':' | ' ' | '\t' | '\x0c' => {
                    ended = Some(character);
                    break;
                }
                other => key.push(other),
            }
        }
        let mut rest = characters.as_str();
        if ended.is_some_and(char::is_whitespace) {
            rest = rest.trim_start();
            rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
        }
        let mut value = String::new();
        let mut characters = rest.trim_start().chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => unescape(&mut characters, &mut value),
                other => value.push(other),
            }
        }
        if !key.is_empty() {
            self.0.insert(key, value);
        }
    }

    /// A value that is not blank.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The parts of a list, without blanks.
    pub(crate) fn list(&self, key: &str) -> Vec<&str> {
        self.value(key).into_iter().flat_map(|list| list.split(',')).map(str::trim).filter(|x| !x.is_empty()).collect()
    }
}

fn unescape(characters: &mut std::str::Chars<'_>, into: &mut String) {
    match characters.next() {
        Some('t') => into.push('\t'),
        Some('n') => into.push('\n'),
        Some('r') => into.push('\r'),
        Some('f') => into.push('\x0c'),
        Some('u') => {
            let code = characters.as_str().get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
            if let Some(character) = code.and_then(char::from_u32) {
                into.push(character);
                *characters = characters.as_str().get(4..).unwrap_or_default().chars();
            }
        }
        Some(other) => into.push(other),
        None => (),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn properties_are_read_as_java_reads_them() {
        let file = b"# a comment\n! another\n  node.id = 3\nlog.dirs:/a, /b,\\\n   /c\nempty=\nnode.id=4\n\
                     path=C\\:\\\\x\nu=\\u0041b\nname value with blanks\nonly\n";
        let properties = Properties::parse(file);
        assert_eq!(properties.value("node.id"), Some("4"));
        assert_eq!(properties.list("log.dirs"), ["/a", "/b", "/c"]);
        assert_eq!(properties.value("empty"), None);
        assert_eq!(properties.value("path"), Some("C:\\x"));
        assert_eq!(properties.value("u"), Some("Ab"));
        assert_eq!(properties.value("name"), Some("value with blanks"));
        assert_eq!(properties.value("only"), None);
        assert_eq!(properties.value("a"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(file: Vec<u8>, text in "[\\\\u0-9a-f=: \n]{0,40}") {
            Properties::parse(&file);
            Properties::parse(text.as_bytes());
        }
    }
}
