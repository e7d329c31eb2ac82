//! Authentication as it passes: who the client says it is, and the phase without frames headers of SaslHandshake version 0.
//!
//! Version 0 is followed by bare tokens (a length and bytes, both ways) until the mechanism is done; version 1 wraps them in
//! SaslAuthenticate. Of a token the user's name is taken while it passes, nothing else is kept, and nothing is ever printed.
//! Source: `org.apache.kafka.common.security.authenticator.SaslServerAuthenticator`.

mod bearer;

use alloc::{borrow::Cow, vec::Vec};
use core::fmt;

use crate::{Observation, Sink};

/// Longest user name that is reported, in bytes, and longest name of a mechanism.
const NAME_LENGTH: usize = 256;

/// How many tokens a mechanism takes is known for these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mechanism {
    Plain,
    Scram,
    OauthBearer,
    #[default]
    Other,
}

/// What the next frame of a direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// A message with a header.
    Message,
    /// A bare token.
    Token,
    /// One of the two; what it looks like decides.
    Either,
}

/// See the module's first paragraph.
#[derive(Default)]
pub(crate) struct Sasl {
    mechanism: Mechanism,
    mechanism_name: Vec<u8>,
    user: Vec<u8>,
    client_tokens: u32,
    server_tokens: u32,
    /// The broker has refused an OAUTHBEARER token; the client has to confirm that.
    refused: bool,
    bare_requests: bool,
    bare_responses: bool,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl Sasl {
    /// The client has chosen a mechanism. `bare`: tokens will follow that are no messages.
    pub(crate) fn begin(&mut self, mechanism: &[u8], bare: bool) {
        *self = Self {
            mechanism: match mechanism {
                b"PLAIN" => Mechanism::Plain,
                b"SCRAM-SHA-256" | b"SCRAM-SHA-512" => Mechanism::Scram,
                b"OAUTHBEARER" => Mechanism::OauthBearer,
                _ => Mechanism::Other,
            },
            mechanism_name: mechanism.get(..NAME_LENGTH).unwrap_or(mechanism).to_vec(),
            bare_requests: bare,
            ..Self::default()
        };
    }

    /// The broker has accepted the mechanism, or not.
    pub(crate) fn agreed(&mut self, bare: bool, accepted: bool) {
        if accepted {
            self.bare_responses = bare;
        } else {
            self.bare_requests = false;
        }
    }

    /// What the client's next frame is.
    #[inline]
    pub(crate) fn next_request(&self) -> Next {
        if self.bare_requests { self.next(self.client_tokens) } else { Next::Message }
    }

    /// What the broker's next frame is.
    #[inline]
    pub(crate) fn next_response(&self) -> Next {
        if self.bare_responses { self.next(self.server_tokens) } else { Next::Message }
    }

    fn next(&self, tokens: u32) -> Next {
        let expected = match self.mechanism {
            Mechanism::Plain => 1,
            Mechanism::Scram => 2,
            Mechanism::OauthBearer if self.refused => 2,
            Mechanism::OauthBearer => 1,
            Mechanism::Other => return Next::Either,
        };
        if tokens < expected { Next::Token } else { Next::Message }
    }

    /// The client speaks in messages again.
    pub(crate) fn requests_are_messages(&mut self) {
        self.bare_requests = false;
    }

    /// The broker speaks in messages again.
    pub(crate) fn responses_are_messages(&mut self) {
        self.bare_responses = false;
    }

    /// A token of the client's.
    pub(crate) fn client_token(&mut self, token: &[u8]) {
        self.client_tokens = self.client_tokens.saturating_add(1);
        if self.client_tokens > 1 {
            return;
        }
        let user = match self.mechanism {
            Mechanism::Plain => plain_user(token).map(Cow::Borrowed),
            Mechanism::Scram => scram_user(token),
            Mechanism::OauthBearer => bearer::subject(token).map(Cow::Owned),
            Mechanism::Other => None,
        };
        self.user = user.filter(|user| user.len() <= NAME_LENGTH).map(Cow::into_owned).unwrap_or_default();
    }

    /// A token of the broker's that came without an error.
    pub(crate) fn server_token<S: Sink>(&mut self, token: &[u8], sink: &mut S) {
        self.server_tokens = self.server_tokens.saturating_add(1);
        let accepted = match self.mechanism {
            Mechanism::Plain => self.server_tokens == 1,
            // RFC 5802: the last message has a proof that the broker knows the password too, or an error.
            Mechanism::Scram => self.server_tokens == 2 && token.starts_with(b"v="),
            // RFC 7628: a challenge is an error.
            Mechanism::OauthBearer => {
                self.refused |= !token.is_empty();
                token.is_empty() && !self.refused
            }
            Mechanism::Other => false,
        };
        if accepted && !self.user.is_empty() {
            sink.observe(Observation::Principal { mechanism: &self.mechanism_name, name: &self.user });
            self.user = Vec::new();
        }
    }
}

/// RFC 4616: `authorization NUL user NUL password`.
fn plain_user(token: &[u8]) -> Option<&[u8]> {
    let mut parts = token.split(|&byte| byte == 0);
    let (_authorization, user, _password) = (parts.next()?, parts.next()?, parts.next()?);
    Some(user)
}

/// RFC 5802: `n,authorization,n=user,r=nonce`, with `,` and `=` in the user's name written as `=2C` and `=3D`.
fn scram_user(token: &[u8]) -> Option<Cow<'_, [u8]>> {
    let user = token.split(|&byte| byte == b',').skip(2).find_map(|part| part.strip_prefix(b"n="))?;
    if !user.contains(&b'=') {
        return Some(Cow::Borrowed(user));
    }
    let mut name = Vec::with_capacity(user.len());
    let mut rest = user;
    while let Some((&byte, after)) = rest.split_first() {
        (name.extend([match byte {
            b'=' if after.starts_with(b"2C") => b',',
            b'=' if after.starts_with(b"3D") => b'=',
            other => other,
        }]));
        rest = if byte == b'=' { after.get(2..)? } else { after };
    }
    Some(Cow::Owned(name))
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};
    use std::vec;

    use super::*;

    struct Principals(Vec<(String, String)>);

    impl Sink for Principals {
        fn observe(&mut self, observation: Observation<'_>) {
            if let Observation::Principal { mechanism, name } = observation {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                self.0.push((text(mechanism), text(name)));
            }
        }
    }

    fn authenticated(mechanism: &str, tokens: &[(&[u8], &[u8])]) -> Vec<(String, String)> {
        let (mut sasl, mut sink) = (Sasl::default(), Principals(vec![]));
        sasl.begin(mechanism.as_bytes(), false);
        for (client, server) in tokens {
            sasl.client_token(client);
            sasl.server_token(server, &mut sink);
        }
        sink.0
    }

    #[test]
    fn a_principal_is_named_once_the_broker_has_accepted_it() {
        let named = |mechanism: &str, name: &str| vec![(mechanism.into(), name.into())];
        assert_eq!(authenticated("PLAIN", &[(b"\0alice\0secret", b"")]), named("PLAIN", "alice"));
        assert_eq!(
            authenticated("SCRAM-SHA-512", &[(b"n,,n=a=2Cb=3Dc,r=nonce", b"r=x,s=y,i=1"), (b"c=..", b"v=proof")]),
            named("SCRAM-SHA-512", "a,b=c")
        );
        assert_eq!(authenticated("SCRAM-SHA-256", &[(b"n,,n=bob,r=n", b"r="), (b"c=..", b"e=invalid-proof")]), []);
        assert_eq!(authenticated("SCRAM-SHA-256", &[(b"n,,n=bob,r=n", b"r=")]), []);
        assert_eq!(authenticated("GSSAPI", &[(b"\x60..", b"..")]), []);
        assert_eq!(authenticated("PLAIN", &[(b"nonsense", b"")]), []);
    }

    #[test]
    fn an_oauth_challenge_is_a_refusal() {
        // {"sub":"carol"}
        let token = b"n,,\x01auth=Bearer e30.eyJzdWIiOiJjYXJvbCJ9.sig\x01\x01";
        let accepted = authenticated("OAUTHBEARER", &[(token, b"")]);
        assert_eq!(accepted, [("OAUTHBEARER".into(), "carol".into())]);
        assert_eq!(authenticated("OAUTHBEARER", &[(token, b"{\"status\":\"invalid_token\"}"), (b"\x01", b"")]), []);
    }

    #[test]
    fn bare_tokens_are_counted_by_mechanism() {
        let mut sink = Principals(vec![]);
        let mut sasl = Sasl::default();
        assert_eq!((sasl.next_request(), sasl.next_response()), (Next::Message, Next::Message));
        for (mechanism, count) in [("PLAIN", 1), ("SCRAM-SHA-256", 2), ("OAUTHBEARER", 1)] {
            sasl.begin(mechanism.as_bytes(), true);
            assert_eq!((sasl.next_request(), sasl.next_response()), (Next::Token, Next::Message));
            sasl.agreed(true, true);
            for _ in 0..count {
                assert_eq!((sasl.next_request(), sasl.next_response()), (Next::Token, Next::Token));
                sasl.client_token(b"");
                sasl.server_token(b"", &mut sink);
            }
            assert_eq!((sasl.next_request(), sasl.next_response()), (Next::Message, Next::Message));
        }
        sasl.begin(b"OAUTHBEARER", true);
        sasl.agreed(true, true);
        sasl.client_token(b"");
        sasl.server_token(b"{}", &mut sink);
        assert_eq!((sasl.next_request(), sasl.next_response()), (Next::Token, Next::Token));
        sasl.begin(b"PLAIN", true);
        sasl.agreed(true, false);
        assert_eq!(sasl.next_request(), Next::Message);
        sasl.begin(b"GSSAPI", true);
        assert_eq!(sasl.next_request(), Next::Either);
    }

    #[test]
    fn debug_output_has_neither_user_nor_token() {
        let mut sasl = Sasl::default();
        sasl.begin(b"PLAIN", false);
        sasl.client_token(b"\0alice\0secret");
        assert!(!format!("{sasl:?}").contains("97"));
        assert_eq!(format!("{sasl:?}"), "Sasl { mechanism: Plain, .. }");
    }
}
