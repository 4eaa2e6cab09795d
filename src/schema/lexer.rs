//! Cuts MySQL statement text into tokens, by the rules of the server's own lexer.
//!
//! The invariant: the pieces (tokens, white space, comments) tile the text. Each begins where the
//! one before it ends, on a character boundary, and the last ends where the text does; so no part
//! of a statement is ever overlooked. It holds because `Pieces` advances by whole pieces only,
//! and none of them is empty.
//!
//! The rules were checked against MySQL 9.7.4. Those that surprise:
//!
//! - A bare name may hold letters, digits, `_`, `$` and everything from U+0080 on, may begin with a
//!   digit (`1a`, but `1e5` is a number), and is a name even if it looks like a number right after
//!   `name.`; `0x1F` is a number, while `0X1F` is a name.
//! - `--` begins a comment only before white space, a control character or the end of the text.
//!   Such a comment, like one with `#`, ends at a line feed or at a NUL, not at a carriage return.
//! - The content of `/*!80400 … */` is code from that version on (five or six digits; without
//!   digits always). There is one level: the first `*/` ends it, whatever `/*!` came inside. A
//!   version comment that is skipped may hold one level of ordinary comments.
//! - From 8.4 on, `$$ … $$` and `$tag$ … $tag$` are strings.

use std::borrow::Cow;

use crate::error::{Error, Result};

#[cfg(test)]
pub(crate) mod tests;

/// What decides how text is cut: two flags of `sql_mode`, and the server's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// `ANSI_QUOTES`: `"a"` is a name instead of a string.
    pub ansi_quotes: bool,
    /// `NO_BACKSLASH_ESCAPES`: a backslash in a string is an ordinary character.
    pub no_backslash_escapes: bool,
    /// The server's version as in `/*!90704 … */`: major × 10000 + minor × 100 + patch.
    pub server_version: u32,
}

impl Dialect {
    /// The dialect of a session, from its `@@sql_mode` (in which the server has expanded the
    /// combination modes, such as ANSI) and the server's version (9.7.4 is 90704).
    pub fn new(sql_mode: &str, server_version: u32) -> Self {
        let has = |mode: &str| sql_mode.split(',').any(|m| m.trim().eq_ignore_ascii_case(mode));
        Dialect {
            ansi_quotes: has("ANSI_QUOTES"),
            no_backslash_escapes: has("NO_BACKSLASH_ESCAPES"),
            server_version,
        }
    }
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A keyword, a bare name, or the introducer of a string (`_utf8mb4`): telling them apart is
    /// the grammar's part.
    Word,
    /// A quoted name: never a keyword.
    Quoted,
    /// A string: `'…'`, `N'…'`, `$$…$$`, and `"…"` without ANSI_QUOTES.
    Text,
    /// A number, or a hexadecimal or bit literal.
    Number,
    /// A user or system variable, or the host part of an account: `@a`, `@@b`, `@'c'`.
    Variable,
    /// An operator, a punctuation mark, or a character that begins nothing.
    Punct,
}

/// One token and its place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: TokenKind,
    /// Its text as it stands, quotes included.
    pub text: &'a str,
    /// Where it begins, in bytes.
    pub start: usize,
}

impl<'a> Token<'a> {
    /// Where it ends, in bytes.
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is this keyword, in any case. A quoted name is never a keyword.
    pub fn is_word(&self, keyword: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether it is one of these keywords.
    pub fn is_one_of(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is_word(keyword))
    }

    /// Whether it is this operator or punctuation mark.
    pub fn is_punct(&self, mark: &str) -> bool {
        self.kind == TokenKind::Punct && self.text == mark
    }

    /// The name that a bare or quoted identifier stands for; `None` for other tokens.
    pub fn name(&self) -> Option<Cow<'a, str>> {
        match self.kind {
            TokenKind::Word => Some(Cow::Borrowed(self.text)),
            TokenKind::Quoted => Some(unquote(self.text)),
            _ => None,
        }
    }
}

/// Takes the quotes off a quoted name, or off a string without escapes and introducer.
pub(crate) fn unquote(text: &str) -> Cow<'_, str> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '`' | '"' | '\'')) else {
        return Cow::Borrowed(text);
    };
    let inner = text.strip_prefix(quote).unwrap_or(text);
    let inner = inner.strip_suffix(quote).unwrap_or(inner);
    if !inner.contains(quote) {
        return Cow::Borrowed(inner);
    }
    Cow::Owned(inner.replace(&format!("{quote}{quote}"), &quote.to_string()))
}

/// The tokens of a text, without white space and comments.
///
/// # Errors
/// Refused if a quote or a comment is not closed, or if a hexadecimal or bit literal is malformed.
pub fn tokens(text: &str, dialect: Dialect) -> Result<Vec<Token<'_>>> {
    Pieces::new(text, dialect).filter_map(|piece| piece.map(|p| p.token()).transpose()).collect()
}

/// Where a byte of the text stands, for a message: lines and characters count from 1.
pub(crate) fn position(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    format!("line {line}, column {column}")
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceKind {
    /// White space.
    Space,
    /// A comment, which includes a version comment whose content this server skips.
    Comment,
    /// The beginning or the end of a version comment whose content is code.
    Marker,
    /// A token.
    Token(TokenKind),
}

/// A token, or what stands between tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) kind: PieceKind,
    pub(crate) text: &'a str,
    pub(crate) start: usize,
}

impl<'a> Piece<'a> {
    /// The piece as a token, if it is one.
    pub(crate) fn token(&self) -> Option<Token<'a>> {
        match self.kind {
            PieceKind::Token(kind) => Some(Token { kind, text: self.text, start: self.start }),
            _ => None,
        }
    }
}

/// The pieces of a text in order; it ends after the first error.
pub(crate) struct Pieces<'a> {
    text: &'a str,
    at: usize,
    dialect: Dialect,
    /// Where the version comment began whose content is being read as code.
    version_comment: Option<usize>,
    /// The token that ended at `at` decides what a digit or a dot means here.
    previous: Previous,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Previous {
    Word,
    DotAfterWord,
    Other,
}

/// Operators of more than one character, the longer ones first.
const OPERATORS: [&str; 12] =
    ["<=>", "->>", "<=", ">=", "<>", "!=", "<<", ">>", "&&", "||", ":=", "->"];

/// The first version whose lexer is known to read dollar-quoted strings.
const DOLLAR_QUOTES_SINCE: u32 = 80400;

impl<'a> Pieces<'a> {
    /// Begins at the start of a text.
    pub(crate) fn new(text: &'a str, dialect: Dialect) -> Self {
        Pieces { text, at: 0, dialect, version_comment: None, previous: Previous::Other }
    }

    /// The byte `ahead` of the current one; NUL past the end.
    fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// The kind of the piece that begins here, and its length in bytes (never 0).
    fn cut(&mut self) -> Result<(PieceKind, usize)> {
        use PieceKind::{Comment, Marker, Space};
        let rest = self.rest();
        let first = self.byte(0);
        if is_space(first) {
            return Ok((Space, run(rest, is_space)));
        }
        if first == b'#' || self.begins_dash_comment() {
            return Ok((Comment, line_comment(rest)));
        }
        if rest.starts_with("/*!") {
            return self.version_comment();
        }
        if rest.starts_with("/*") {
            let length = rest.get(2..).and_then(|r| r.find("*/"));
            return Ok((Comment, length.ok_or_else(|| self.unclosed("comment"))? + 4));
        }
        if rest.starts_with("*/") && self.version_comment.take().is_some() {
            return Ok((Marker, 2));
        }
        let (kind, length) = self.cut_token(first)?;
        Ok((PieceKind::Token(kind), length))
    }

    fn begins_dash_comment(&self) -> bool {
        let after = self.byte(2);
        self.rest().starts_with("--") && (is_space(after) || after.is_ascii_control())
    }

    fn version_comment(&mut self) -> Result<(PieceKind, usize)> {
        let rest = self.rest();
        let digits = run(rest.get(3..).unwrap_or(""), |b| b.is_ascii_digit()).min(6);
        let digits = if digits < 5 { 0 } else { digits };
        let version = rest.get(3..3 + digits).and_then(|v| v.parse::<u32>().ok()).unwrap_or(0);
        if version <= self.dialect.server_version {
            self.version_comment = Some(self.at);
            return Ok((PieceKind::Marker, 3 + digits));
        }
        let unclosed = || self.unclosed("version comment");
        let mut at = 3;
        loop {
            let tail = rest.get(at..).unwrap_or("");
            let end = tail.find("*/").ok_or_else(unclosed)?;
            match tail.find("/*").filter(|&inner| inner < end) {
                None => return Ok((PieceKind::Comment, at + end + 2)),
                Some(inner) => {
                    let body = tail.get(inner + 2..).unwrap_or("");
                    at += inner + 2 + body.find("*/").ok_or_else(unclosed)? + 2;
                }
            }
        }
    }

    fn cut_token(&self, first: u8) -> Result<(TokenKind, usize)> {
        use TokenKind::{Number, Punct, Quoted, Text, Variable, Word};
        let rest = self.rest();
        let word = || (Word, run(rest, is_name));
        Ok(match (first, self.byte(1)) {
            (b'`', _) => (Quoted, self.quoted(0, "quoted name")?),
            (b'"', _) if self.dialect.ansi_quotes => (Quoted, self.quoted(0, "quoted name")?),
            (b'\'' | b'"', _) => (Text, self.quoted(0, "string")?),
            _ if self.previous == Previous::DotAfterWord && is_name(first) => word(),
            (b'n' | b'N', b'\'') => (Text, self.quoted(1, "string")?),
            (b'x' | b'X', b'\'') => (Number, self.digits_literal("hexadecimal", 16, 2)?),
            (b'b' | b'B', b'\'') => (Number, self.digits_literal("bit", 2, 1)?),
            (b'$', _) => match self.dollar_quoted()? {
                Some(length) => (Text, length),
                None => word(),
            },
            (b'@', _) => (Variable, self.variable()?),
            (b'0'..=b'9', _) => number(rest).map_or_else(word, |length| (Number, length)),
            (b'.', b'0'..=b'9') if self.previous != Previous::Word => (Number, real(rest, 0)),
            _ if is_name(first) => word(),
            _ => {
                let operator = OPERATORS.iter().find(|o| rest.starts_with(**o));
                let one = rest.chars().next().map_or(1, char::len_utf8);
                (Punct, operator.map_or(one, |o| o.len()))
            }
        })
    }

    /// The length up to the closing quote, where the opening one is `prefix` bytes ahead.
    fn quoted(&self, prefix: usize, what: &str) -> Result<usize> {
        let quote = self.byte(prefix);
        let is_name = quote == b'`' || (quote == b'"' && self.dialect.ansi_quotes);
        let escapes = !is_name && !self.dialect.no_backslash_escapes;
        let bytes = self.rest().as_bytes();
        let mut at = prefix + 1;
        while let Some(&byte) = bytes.get(at) {
            if byte == b'\\' && escapes {
                // The next byte may begin a character of several; none of its other bytes can be
                // mistaken for a quote or a backslash, which are ASCII.
                at += 2;
            } else if byte != quote {
                at += 1;
            } else if bytes.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                return Ok(at + 1);
            }
        }
        Err(self.unclosed(what))
    }

    /// The length of `X'…'` or `B'…'`, whose digits come in groups.
    fn digits_literal(&self, what: &str, radix: u32, group: usize) -> Result<usize> {
        let body = self.rest().get(2..).unwrap_or("");
        let digits = body.find('\'').ok_or_else(|| self.unclosed(&format!("{what} literal")))?;
        let valid = body.chars().take_while(|c| c.is_digit(radix)).count() == digits;
        if !valid || digits % group != 0 {
            let place = position(self.text, self.at);
            return Err(Error::refused(format!("malformed {what} literal at {place}"))
                .remedy("Correct the literal."));
        }
        Ok(digits + 3)
    }

    /// The length of `$$…$$` or `$tag$…$tag$`; `None` if a bare name begins here.
    fn dollar_quoted(&self) -> Result<Option<usize>> {
        if self.dialect.server_version < DOLLAR_QUOTES_SINCE {
            return Ok(None);
        }
        let rest = self.rest();
        let tag = 1 + run(rest.get(1..).unwrap_or(""), |b| is_name(b) && b != b'$');
        if self.byte(tag) != b'$' {
            return Ok(None);
        }
        let (fence, body) = rest.split_at_checked(tag + 1).unwrap_or((rest, ""));
        let length = body.find(fence).ok_or_else(|| self.unclosed("dollar-quoted string"))?;
        Ok(Some(length + 2 * fence.len()))
    }

    fn variable(&self) -> Result<usize> {
        let marks = if self.byte(1) == b'@' { 2 } else { 1 };
        if matches!(self.byte(marks), b'`' | b'\'' | b'"') {
            return self.quoted(marks, "name of a variable");
        }
        let name = self.rest().get(marks..).unwrap_or("");
        Ok(marks + run(name, |b| is_name(b) || b == b'.'))
    }

    fn unclosed(&self, what: &str) -> Error {
        unclosed(self.text, self.at, what)
    }

    fn follow(&self, piece: Piece<'_>) -> Previous {
        match (piece.kind, piece.text) {
            (PieceKind::Token(TokenKind::Word), _) => Previous::Word,
            (PieceKind::Token(_), ".") if self.previous == Previous::Word => Previous::DotAfterWord,
            _ => Previous::Other,
        }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<Piece<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.text.len() {
            let open = self.version_comment.take()?;
            return Some(Err(unclosed(self.text, open, "version comment")));
        }
        let start = self.at;
        let piece = self.cut().and_then(|(kind, length)| {
            let text = self.text.get(start..start + length).filter(|text| !text.is_empty());
            Ok(Piece { kind, text: text.ok_or_else(|| self.unclosed("character"))?, start })
        });
        match &piece {
            Ok(piece) => {
                self.previous = self.follow(*piece);
                self.at = start + piece.text.len();
            }
            Err(_) => {
                self.version_comment = None;
                self.at = self.text.len();
            }
        }
        Some(piece)
    }
}

fn unclosed(text: &str, at: usize, what: &str) -> Error {
    Error::refused(format!("the {what} that begins at {} is not closed", position(text, at)))
        .remedy("Close it, and mind the shell's own quoting.")
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

/// How many bytes at the start of a text satisfy a test that holds for all bytes of a non-ASCII
/// character or for none, so that the end is on a character boundary.
fn run(text: &str, test: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|&byte| test(byte)).count()
}

fn line_comment(rest: &str) -> usize {
    match rest.find(['\n', '\0']) {
        Some(end) if rest.as_bytes().get(end) == Some(&b'\n') => end + 1,
        Some(end) => end,
        None => rest.len(),
    }
}

/// The length of the number at the start of a text that begins with a digit; `None` if it is a name.
fn number(rest: &str) -> Option<usize> {
    let byte = |at: usize| rest.as_bytes().get(at).copied().unwrap_or(0);
    let radix = match (byte(0), byte(1)) {
        (b'0', b'x') => Some(16),
        (b'0', b'b') => Some(2),
        _ => None,
    };
    if let Some(radix) = radix {
        let digits = run(rest.get(2..)?, |b| char::from(b).is_digit(radix));
        return (digits > 0 && !is_name(byte(2 + digits))).then_some(2 + digits);
    }
    let digits = run(rest, |b| b.is_ascii_digit());
    match byte(digits) {
        b'.' => Some(real(rest, digits)),
        b'e' | b'E' => exponent(rest, digits),
        next if is_name(next) => None,
        _ => Some(digits),
    }
}

/// The length of a number whose decimal point is at `point`.
fn real(rest: &str, point: usize) -> usize {
    let digits = run(rest.get(point + 1..).unwrap_or(""), |b| b.is_ascii_digit());
    let end = point + 1 + digits;
    exponent(rest, end).unwrap_or(end)
}

/// The length of a number that has its exponent at `at`, if there is one.
fn exponent(rest: &str, at: usize) -> Option<usize> {
    let tail = rest.get(at..)?.strip_prefix(['e', 'E'])?;
    let sign = usize::from(tail.starts_with(['+', '-']));
    let digits = run(tail.get(sign..)?, |b| b.is_ascii_digit());
    (digits > 0).then_some(at + 1 + sign + digits)
}
