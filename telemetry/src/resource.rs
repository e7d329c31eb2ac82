//! Who reports: the attributes that all its metrics and spans share.

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};

/// Resource attributes, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    attributes: Vec<(String, String)>,
}

/// A pair in `OTEL_RESOURCE_ATTRIBUTES` that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("OTEL_RESOURCE_ATTRIBUTES: `{0}` is not of the form key=value")]
pub struct InvalidResource(pub String);

impl Resource {
    /// The resource of a process of `service` in `version`, with what the environment says of it:
    /// `OTEL_RESOURCE_ATTRIBUTES` (`key=value,key=value`, percent-encoded) and, above it, `OTEL_SERVICE_NAME`.
    ///
    /// # Errors
    /// When `OTEL_RESOURCE_ATTRIBUTES` is malformed.
    pub fn new(
        service: &str,
        version: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, InvalidResource> {
        let mut resource = Self { attributes: Vec::new() };
        resource.set("service.name", service.to_owned());
        resource.set("service.version", version.to_owned());
        resource.set("service.instance.id", instance_id());
        for pair in
            variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default().split(',').filter(|pair| !pair.trim().is_empty())
        {
            let invalid = || InvalidResource(pair.to_owned());
            let (key, value) = pair.split_once('=').ok_or_else(invalid)?;
            let key = key.trim();
            if key.is_empty() {
                return Err(invalid());
            }
            resource.set(key, percent_decoded(value.trim()).ok_or_else(invalid)?);
        }
        if let Some(name) = variable("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()) {
            resource.set("service.name", name);
        }
        resource.attributes.sort();
        Ok(resource)
    }

    /// Sets an attribute.
    pub fn set(&mut self, key: &str, value: String) {
        match self.attributes.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value,
            None => self.attributes.push((key.to_owned(), value)),
        }
    }

    /// All attributes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// A random UUID (version 4), the form that the conventions recommend.
pub(crate) fn instance_id() -> String {
    let random = || RandomState::new().hash_one(0);
    let bits = (u128::from(random()) << 64 | u128::from(random())) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let mut text = String::with_capacity(36);
    for (index, byte) in bits.to_be_bytes().into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing into a string cannot fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

/// `%41` to `A`; `None` when an escape is malformed or the result is not UTF-8.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let (high, low) = (char::from(bytes.next()?).to_digit(16)?, char::from(bytes.next()?).to_digit(16)?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(attributes: &str, name: &str) -> Result<Resource, InvalidResource> {
        Resource::new("kafkascope-proxy", "1", |variable| match variable {
            "OTEL_RESOURCE_ATTRIBUTES" => Some(attributes.to_owned()),
            "OTEL_SERVICE_NAME" => Some(name.to_owned()),
            _ => None,
        })
    }

    fn value<'a>(resource: &'a Resource, key: &str) -> Option<&'a str> {
        resource.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    #[test]
    fn the_environment_adds_to_and_overrides_what_the_process_says() {
        let resource = resource("deployment.environment.name=test%2C1 ,service.version=2,service.name=a", "b").unwrap();
        assert_eq!(value(&resource, "deployment.environment.name"), Some("test,1"));
        assert_eq!(value(&resource, "service.version"), Some("2"));
        assert_eq!(value(&resource, "service.name"), Some("b"));
        assert!(value(&resource, "service.instance.id").is_some_and(|id| id.len() == 36));
    }

    #[test]
    fn a_pair_that_is_none_is_an_error() {
        for attributes in ["a", "=b", "a=%zz", "a=%f"] {
            assert!(resource(attributes, "").is_err(), "{attributes}");
        }
        assert!(resource("", "").is_ok());
    }

    #[test]
    fn two_processes_have_different_instance_ids() {
        let (first, second) = (instance_id(), instance_id());
        assert_ne!(first, second);
        assert_eq!(first.as_bytes()[14], b'4');
        assert!(matches!(first.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }
}
