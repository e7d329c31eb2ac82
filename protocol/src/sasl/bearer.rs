//! The subject of a bearer token: `sub` in the payload of a JSON web token (RFC 7519).

use alloc::vec::Vec;

/// The `sub` claim of an OAUTHBEARER client message (RFC 7628). The token itself is wiped before this returns.
pub(super) fn subject(message: &[u8]) -> Option<Vec<u8>> {
    const SCHEME: &[u8] = b"auth=bearer ";
    let token = message.split(|&byte| byte == 1).find_map(|field| {
        let (scheme, token) = field.split_at_checked(SCHEME.len())?;
        scheme.eq_ignore_ascii_case(SCHEME).then_some(token)
    })?;
    let mut payload = base64url(token.split(|&byte| byte == b'.').nth(1)?)?;
    let subject = claim(&payload, b"sub");
    payload.fill(0);
    subject
}

/// Unpadded base64url (RFC 4648).
fn base64url(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for index in 0..4 {
            bits = bits << 6 | u32::from(group.get(index).map_or(Some(0), |&digit| sextet(digit))?);
        }
        let [_, whole @ ..] = bits.to_be_bytes();
        bytes.extend_from_slice(whole.get(..group.len().checked_sub(1)?)?);
    }
    Some(bytes)
}

fn sextet(digit: u8) -> Option<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    DIGITS.iter().position(|&known| known == digit).and_then(|position| u8::try_from(position).ok())
}

/// The text of member `name` of a JSON object, or `None` if there is no such text.
fn claim(json: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut depth = 0u32;
    let mut rest = json;
    let mut key: Option<Vec<u8>> = None;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' | b'[' => depth = depth.checked_add(1)?,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' => {
                let (text, after) = text(rest)?;
                rest = after;
                let is_key = rest.trim_ascii_start().starts_with(b":");
                if depth == 1 && is_key {
                    key = Some(text);
                } else if depth == 1 && key.as_deref() == Some(name) {
                    return Some(text);
                }
            }
            b',' if depth == 1 => key = None,
            _ => {}
        }
    }
    None
}

/// A JSON string behind its opening quote, and what follows it.
fn text(json: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut text = Vec::new();
    let mut rest = json;
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((text, rest)),
            b'\\' => {
                let (&escape, after) = rest.split_first()?;
                rest = after;
                match escape {
                    b'"' | b'\\' | b'/' => text.push(escape),
                    b'u' => {
                        let (digits, after) = rest.split_at_checked(4)?;
                        rest = after;
                        let code = u32::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?;
                        text.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    // A control character has no place in a user's name.
                    _ => return None,
                }
            }
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_of_every_length() {
        assert_eq!(base64url(b"").as_deref(), Some(&b""[..]));
        assert_eq!(base64url(b"Zg").as_deref(), Some(&b"f"[..]));
        assert_eq!(base64url(b"Zm8").as_deref(), Some(&b"fo"[..]));
        assert_eq!(base64url(b"Zm9v").as_deref(), Some(&b"foo"[..]));
        assert_eq!(base64url(b"-_8").as_deref(), Some(&[0xfb, 0xff][..]));
        assert_eq!(base64url(b"Zm9vYg").as_deref(), Some(&b"foob"[..]));
        assert_eq!(base64url(b"Z"), Some(Vec::new()));
        assert_eq!(base64url(b"Zm+v"), None);
    }

    #[test]
    fn only_the_members_of_the_object_itself_are_claims() {
        let sub = |json: &str| claim(json.as_bytes(), b"sub");
        assert_eq!(sub(r#"{"aud":["x","sub"],"act":{"sub":"no"},"sub" : "yes"}"#).as_deref(), Some(&b"yes"[..]));
        assert_eq!(sub(r#"{"iss":"sub","exp":1}"#), None);
        assert_eq!(sub(r#"{"sub":7,"iss":"x"}"#), None);
        assert_eq!(sub(r#"{"sub":"a\"\u00e9\\"}"#).as_deref(), Some("a\"\u{e9}\\".as_bytes()));
        assert_eq!(sub(r#"{"sub":"open"#), None);
        assert_eq!(sub("}"), None);
    }
}
