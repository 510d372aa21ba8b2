//! What client and server agree on in the upgrade (RFC 7692, 5 and 7.1).

/// The name of the extension, and the names of its parameters.
const NAME: &str = "permessage-deflate";
const SERVER_NO_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_BITS: &str = "server_max_window_bits";
const CLIENT_BITS: &str = "client_max_window_bits";

/// The largest window, 2^15 bytes; also what holds where nothing is said.
const MAX_BITS: u8 = 15;

/// What the client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The server must compress each message by itself: the client keeps no window.
    pub(crate) server_no_context_takeover: bool,
    /// The client will compress each message by itself: the server need keep no window.
    pub(crate) client_no_context_takeover: bool,
    /// The server's window is at most 2 to the power of this, in bytes: 8 to 15.
    pub(crate) server_max_window_bits: u8,
    /// The client's window is at most 2 to the power of this, in bytes: 8 to 15.
    pub(crate) client_max_window_bits: u8,
}

impl Default for Offer {
    /// Both may use whatever RFC 7692 allows.
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: MAX_BITS,
            client_max_window_bits: MAX_BITS,
        }
    }
}

/// What holds for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// A message of the server may refer to earlier ones.
    pub(crate) server_takes_over: bool,
    /// A message of the client may refer to earlier ones.
    pub(crate) client_takes_over: bool,
    /// 8 to 15.
    pub(crate) server_max_window_bits: u8,
    /// 8 to 15.
    pub(crate) client_max_window_bits: u8,
}

/// Why an answer is not valid. The connection must be failed (RFC 7692, 5.1, and RFC 6455, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExtensionRefused {
    /// RFC 6455, 9.1.
    #[error("Sec-WebSocket-Extensions is malformed (RFC 6455, 9.1)")]
    Malformed,
    /// RFC 6455, 4.1.
    #[error("the server chose an extension that was not offered (RFC 6455, 4.1)")]
    NotOffered,
    /// Only one offer was made.
    #[error("the server chose permessage-deflate twice (RFC 7692, 5)")]
    Twice,
    /// RFC 7692, 7.1.
    #[error("a parameter of permessage-deflate is unknown (RFC 7692, 7.1)")]
    UnknownParameter,
    /// RFC 7692, 7.1.
    #[error("{0} appears twice (RFC 7692, 7.1)")]
    Repeated(&'static str),
    /// RFC 7692, 7.1.1 and 7.1.2.
    #[error("{0} has an invalid value (RFC 7692, 7.1)")]
    Value(&'static str),
    /// RFC 7692, 7.1.1.1 and 7.1.2.1: a server accepts the parameter "by including" it.
    #[error("{0} was asked for and not granted (RFC 7692, 7.1)")]
    NotGranted(&'static str),
}

use ExtensionRefused as Refused;

impl Offer {
    /// The value of `Sec-WebSocket-Extensions` in the request.
    pub(crate) fn header(&self) -> String {
        let mut header = format!("{NAME}; {CLIENT_BITS}");
        if self.client_max_window_bits < MAX_BITS {
            header += &format!("={}", self.client_max_window_bits);
        }
        if self.server_max_window_bits < MAX_BITS {
            header += &format!("; {SERVER_BITS}={}", self.server_max_window_bits);
        }
        for (name, is_wanted) in [
            (SERVER_NO_TAKEOVER, self.server_no_context_takeover),
            (CLIENT_NO_TAKEOVER, self.client_no_context_takeover),
        ] {
            if is_wanted {
                header += "; ";
                header += name;
            }
        }
        header
    }

    /// Reads the answer: the values of all `Sec-WebSocket-Extensions` headers, in order. `None`: the
    /// server does without compression.
    pub(crate) fn accept<'a>(
        &self,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Result<Option<Agreement>, Refused> {
        let mut agreement = None;
        // A value in quotes has neither a comma nor a semicolon: it must be a token all the same.
        for extension in values.into_iter().flat_map(|value| value.split(',')) {
            let mut parts = extension.split(';').map(trim);
            match parts.next() {
                // RFC 7230, 7: a list may have empty elements.
                Some("") if parts.next().is_none() => continue,
                Some(NAME) if agreement.is_some() => return Err(Refused::Twice),
                Some(NAME) => agreement = Some(self.agree(parts)?),
                Some(name) if is_token(name) => return Err(Refused::NotOffered),
                _ => return Err(Refused::Malformed),
            }
        }
        Ok(agreement)
    }

    fn agree<'a>(&self, parameters: impl Iterator<Item = &'a str>) -> Result<Agreement, Refused> {
        let (mut server_no, mut client_no) = (None, None);
        let (mut server_bits, mut client_bits) = (None, None);
        for parameter in parameters {
            let (name, value) = match parameter.split_once('=') {
                Some((name, value)) => (trim(name), Some(unquote(trim(value))?)),
                None => (parameter, None),
            };
            match name {
                SERVER_NO_TAKEOVER => set(&mut server_no, flag(SERVER_NO_TAKEOVER, value)?)?,
                CLIENT_NO_TAKEOVER => set(&mut client_no, flag(CLIENT_NO_TAKEOVER, value)?)?,
                SERVER_BITS => {
                    let most = self.server_max_window_bits;
                    set(&mut server_bits, (SERVER_BITS, bits(SERVER_BITS, value, most)?))?;
                }
                CLIENT_BITS => {
                    let most = self.client_max_window_bits;
                    set(&mut client_bits, (CLIENT_BITS, bits(CLIENT_BITS, value, most)?))?;
                }
                name if is_token(name) => return Err(Refused::UnknownParameter),
                _ => return Err(Refused::Malformed),
            }
        }
        if self.server_no_context_takeover && server_no.is_none() {
            return Err(Refused::NotGranted(SERVER_NO_TAKEOVER));
        }
        if self.server_max_window_bits < MAX_BITS && server_bits.is_none() {
            return Err(Refused::NotGranted(SERVER_BITS));
        }
        Ok(Agreement {
            server_takes_over: server_no.is_none(),
            // The client may do without, whatever the server says (RFC 7692, 7.1.1.2).
            client_takes_over: client_no.is_none() && !self.client_no_context_takeover,
            server_max_window_bits: server_bits.map_or(MAX_BITS, |(_, bits)| bits),
            client_max_window_bits: client_bits
                .map_or(self.client_max_window_bits, |(_, bits)| bits),
        })
    }
}

/// Keeps a parameter, which must not appear again.
fn set<T>(
    slot: &mut Option<(&'static str, T)>,
    parameter: (&'static str, T),
) -> Result<(), Refused> {
    match slot.replace(parameter) {
        Some((name, _)) => Err(Refused::Repeated(name)),
        None => Ok(()),
    }
}

/// A parameter that has no value.
fn flag(name: &'static str, value: Option<&str>) -> Result<(&'static str, ()), Refused> {
    if value.is_some() { Err(Refused::Value(name)) } else { Ok((name, ())) }
}

/// "a decimal integer value without leading zeroes between 8 to 15, inclusive" (RFC 7692, 7.1.2).
/// The answer's is not larger than the offer's.
fn bits(name: &'static str, value: Option<&str>, most: u8) -> Result<u8, Refused> {
    let allowed = (8..=most).find(|bits| value == Some(&*bits.to_string()));
    allowed.ok_or(Refused::Value(name))
}

/// RFC 6455, 9.1: a value in quotes is a token once they are gone.
fn unquote(value: &str) -> Result<&str, Refused> {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Some(inner.unwrap_or(value)).filter(|value| is_token(value)).ok_or(Refused::Malformed)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// RFC 7230, 3.2.6.
fn is_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        Offer::default()
    }

    fn all() -> Offer {
        Offer {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 10,
            client_max_window_bits: 9,
        }
    }

    const PLAIN: Agreement = Agreement {
        server_takes_over: true,
        client_takes_over: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };

    #[test]
    fn every_parameter_is_offered() {
        assert_eq!(offer().header(), "permessage-deflate; client_max_window_bits");
        assert_eq!(
            all().header(),
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10; \
             server_no_context_takeover; client_no_context_takeover"
        );
    }

    #[test]
    fn every_parameter_of_the_answer_counts() {
        let agreed = |answer: &str| offer().accept([answer]).expect("valid").expect("compressed");
        assert_eq!(agreed("permessage-deflate"), PLAIN);
        assert_eq!(
            agreed("permessage-deflate; server_no_context_takeover"),
            Agreement { server_takes_over: false, ..PLAIN }
        );
        assert_eq!(
            agreed("permessage-deflate;client_no_context_takeover"),
            Agreement { client_takes_over: false, ..PLAIN }
        );
        for bits in 8..=15 {
            assert_eq!(
                agreed(&format!("permessage-deflate; server_max_window_bits={bits}")),
                Agreement { server_max_window_bits: bits, ..PLAIN }
            );
            assert_eq!(
                agreed(&format!("permessage-deflate;\tclient_max_window_bits = \"{bits}\" ")),
                Agreement { client_max_window_bits: bits, ..PLAIN }
            );
        }
    }

    #[test]
    fn what_was_asked_for_holds() {
        let answer = "permessage-deflate; server_no_context_takeover; server_max_window_bits=9";
        let expected = Agreement {
            server_takes_over: false,
            client_takes_over: false,
            server_max_window_bits: 9,
            client_max_window_bits: 9,
        };
        assert_eq!(all().accept([answer]), Ok(Some(expected)));
    }

    #[test]
    fn a_server_may_do_without() {
        for values in [&[][..], &[""], &[" , ,"], &["", ""]] {
            assert_eq!(offer().accept(values.iter().copied()), Ok(None), "{values:?}");
        }
        // Several headers are one list.
        assert_eq!(offer().accept(["", "permessage-deflate"]), Ok(Some(PLAIN)));
    }

    #[test]
    fn an_answer_that_does_not_match_is_refused() {
        use Refused as R;
        for (parameters, refused, words) in [
            (
                "client_max_window_bits",
                R::Value(CLIENT_BITS),
                "client_max_window_bits has an invalid value (RFC 7692, 7.1)",
            ),
            ("client_max_window_bits=7", R::Value(CLIENT_BITS), ""),
            ("client_max_window_bits=16", R::Value(CLIENT_BITS), ""),
            ("server_max_window_bits=08", R::Value(SERVER_BITS), ""),
            ("server_max_window_bits", R::Value(SERVER_BITS), ""),
            ("server_max_window_bits=+9", R::Value(SERVER_BITS), ""),
            ("server_no_context_takeover=1", R::Value(SERVER_NO_TAKEOVER), ""),
            (
                "server_no_context_takeover; server_no_context_takeover",
                R::Repeated(SERVER_NO_TAKEOVER),
                "server_no_context_takeover appears twice (RFC 7692, 7.1)",
            ),
            ("server_max_window_bits=9; server_max_window_bits=9", R::Repeated(SERVER_BITS), ""),
            (
                "x",
                R::UnknownParameter,
                "a parameter of permessage-deflate is unknown (RFC 7692, 7.1)",
            ),
            (
                "server_max_window_bits=\"9",
                R::Malformed,
                "Sec-WebSocket-Extensions is malformed (RFC 6455, 9.1)",
            ),
            ("server_max_window_bits=", R::Malformed, ""),
            ("", R::Malformed, ""),
            ("a b", R::Malformed, ""),
        ] {
            let answer = format!("permessage-deflate; {parameters}");
            assert_eq!(offer().accept([&*answer]), Err(refused), "{parameters}");
            assert!(words.is_empty() || refused.to_string() == words, "{refused}");
        }
        for (answer, refused) in [
            ("permessage-bzip2", R::NotOffered),
            ("permessage-deflate, permessage-deflate", R::Twice),
            ("permessage-deflate, x", R::NotOffered),
            ("; x", R::Malformed),
            ("a b", R::Malformed),
        ] {
            assert_eq!(offer().accept([answer]), Err(refused), "{answer}");
        }
        for (answer, refused) in [
            ("server_max_window_bits=9", R::NotGranted(SERVER_NO_TAKEOVER)),
            ("server_no_context_takeover", R::NotGranted(SERVER_BITS)),
            ("server_no_context_takeover; server_max_window_bits=11", R::Value(SERVER_BITS)),
            ("client_max_window_bits=10", R::Value(CLIENT_BITS)),
        ] {
            let answer = format!("permessage-deflate; {answer}");
            assert_eq!(all().accept([&*answer]), Err(refused), "{answer}");
        }
    }
}
