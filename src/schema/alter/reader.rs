//! A reading position in the tokens of a statement.

use crate::error::{Error, Result};
use crate::schema::lexer::{Token, position};

/// Tokens that are still to be read. A copy of it is a place to come back to.
#[derive(Clone, Copy)]
pub(super) struct Reader<'t, 'a> {
    text: &'t str,
    tokens: &'t [Token<'a>],
}

impl<'t, 'a> Reader<'t, 'a> {
    /// Reads `tokens`, which were cut from `text`.
    pub(super) fn new(text: &'t str, tokens: &'t [Token<'a>]) -> Self {
        Reader { text, tokens }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'t [Token<'a>] {
        self.tokens
    }

    /// The same text, but only these tokens of it.
    pub(super) fn over(&self, tokens: &'t [Token<'a>]) -> Self {
        Reader { text: self.text, tokens }
    }

    pub(super) fn peek(&self) -> Option<Token<'a>> {
        self.tokens.first().copied()
    }

    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(*first)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whether one of these keywords comes next.
    pub(super) fn at(&self, keywords: &[&str]) -> bool {
        self.peek().is_some_and(|token| token.is_one_of(keywords))
    }

    /// Whether these keywords come next, in this order.
    pub(super) fn at_sequence(&self, keywords: &[&str]) -> bool {
        self.tokens.len() >= keywords.len()
            && self.tokens.iter().zip(keywords).all(|(token, keyword)| token.is_word(keyword))
    }

    /// Whether this punctuation mark comes next.
    pub(super) fn at_punct(&self, mark: &str) -> bool {
        self.peek().is_some_and(|token| token.is_punct(mark))
    }

    /// Reads this keyword if it comes next.
    pub(super) fn eat(&mut self, keyword: &str) -> bool {
        self.eat_one_of(&[keyword])
    }

    /// Reads one of these keywords if it comes next.
    pub(super) fn eat_one_of(&mut self, keywords: &[&str]) -> bool {
        self.at(keywords) && self.next().is_some()
    }

    /// Reads this punctuation mark if it comes next.
    pub(super) fn eat_punct(&mut self, mark: &str) -> bool {
        self.at_punct(mark) && self.next().is_some()
    }

    /// Reads a name, bare or quoted.
    pub(super) fn name(&mut self, what: &str) -> Result<String> {
        self.name_token(what).map(|(name, _)| name)
    }

    /// Reads a name, and returns its token too.
    pub(super) fn name_token(&mut self, what: &str) -> Result<(String, Token<'a>)> {
        match self.peek().and_then(|token| Some((token.name()?.into_owned(), token))) {
            Some(found) => {
                self.next();
                Ok(found)
            }
            None => Err(self.unreadable(&format!("{what} is missing"))),
        }
    }

    /// Checks that everything has been read.
    pub(super) fn end(&self) -> Result<()> {
        if self.is_at_end() { Ok(()) } else { Err(self.unreadable("this was not expected")) }
    }

    /// Reads up to the parenthesis that closes the one that comes next, and returns what is
    /// between them.
    pub(super) fn parenthesised(&mut self) -> Result<&'t [Token<'a>]> {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate() {
            if token.is_punct("(") {
                depth += 1;
            } else if token.is_punct(")") {
                depth = depth.saturating_sub(1);
            }
            if depth == 0 {
                let inside = self.tokens.get(1..at).unwrap_or_default();
                self.tokens = self.tokens.get(at + 1..).unwrap_or_default();
                return Ok(inside);
            }
        }
        Err(self.unreadable("this parenthesis is not closed"))
    }

    /// Splits what has not been read at the commas outside parentheses.
    pub(super) fn split_at_commas(&self) -> Result<Vec<Self>> {
        let mut parts = Vec::new();
        let mut start = 0;
        for at in self.outside_parentheses()? {
            if self.tokens.get(at).is_some_and(|token| token.is_punct(",")) {
                parts.push(self.over(self.tokens.get(start..at).unwrap_or_default()));
                start = at + 1;
            }
        }
        parts.push(self.over(self.tokens.get(start..).unwrap_or_default()));
        Ok(parts)
    }

    /// The indexes of the unread tokens that are outside parentheses.
    pub(super) fn outside_parentheses(&self) -> Result<Vec<usize>> {
        let mut outside = Vec::new();
        let mut open = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            if token.is_punct("(") {
                open.push(at);
            } else if token.is_punct(")") {
                if open.pop().is_none() {
                    let rest = self.tokens.get(at..).unwrap_or_default();
                    return Err(self.over(rest).unreadable("this parenthesis closes none"));
                }
            } else if open.is_empty() {
                outside.push(at);
            }
        }
        match open.last() {
            None => Ok(outside),
            Some(&at) => {
                let rest = self.tokens.get(at..).unwrap_or_default();
                Err(self.over(rest).unreadable("this parenthesis is not closed"))
            }
        }
    }

    /// The refusal of what comes next.
    pub(super) fn unreadable(&self, why: &str) -> Error {
        let place = match self.peek() {
            Some(token) => format!("at {} near {}", position(self.text, token.start), token.text),
            None => "at the end of a clause".to_owned(),
        };
        Error::refused(format!("the ALTER cannot be read {place}: {why}")).remedy(
            "Check the statement. If MySQL accepts it, write the clause in the form that the \
             manual gives for ALTER TABLE.",
        )
    }
}
