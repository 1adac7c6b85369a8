//! Tokens to statements. The grammar is that of Jinja2 with its `loopcontrols` extension and the
//! `{% generation %}` block of Hugging Face transformers.
use std::sync::Arc;

use super::ast::{Block, Expr, FilterCall, For, Macro, Name, Stmt, StmtKind, Target, Uses};
use super::error::{Bound, TemplateError};
use super::lexer::{Kind, Token};

/// Levels that the source may nest, statements and expressions together.
const DEPTH: usize = 64;

pub(super) type Parsed<T> = Result<T, TemplateError>;

/// Reads the statements of a template.
///
/// # Errors
/// [`TemplateError::Syntax`], or [`TemplateError::Limit`] for a source nested too deeply.
pub(super) fn parse(tokens: &[Token]) -> Parsed<Block> {
    let mut parser = Parser::new(tokens);
    let (body, _) = parser.block(&[])?;
    Ok(body)
}

pub(super) struct Parser<'t> {
    rest: &'t [Token],
    line: usize,
    depth: usize,
    /// Special names read since the innermost macro began.
    pub(super) uses: Uses,
}

impl<'t> Parser<'t> {
    fn new(tokens: &'t [Token]) -> Self {
        Self {
            rest: tokens,
            line: 1,
            depth: 0,
            uses: Uses::default(),
        }
    }

    pub(super) fn peek(&self) -> Option<&'t Kind> {
        self.rest.first().map(|token| &token.kind)
    }

    pub(super) fn peek_second(&self) -> Option<&'t Kind> {
        self.rest.get(1).map(|token| &token.kind)
    }

    pub(super) fn next(&mut self) -> Option<&'t Kind> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.line = first.line;
        Some(&first.kind)
    }

    pub(super) fn error<T>(&self, what: impl Into<String>) -> Parsed<T> {
        let line = self.rest.first().map_or(self.line, |token| token.line);
        Err(TemplateError::Syntax {
            line,
            what: what.into(),
        })
    }

    /// An error that names the token which stands here.
    pub(super) fn unexpected<T>(&self, expected: &str) -> Parsed<T> {
        let found = match self.peek() {
            None => "the end of the template".to_owned(),
            Some(Kind::Data(_)) => "text".to_owned(),
            Some(Kind::BlockBegin) => "`{%`".to_owned(),
            Some(Kind::BlockEnd) => "`%}`".to_owned(),
            Some(Kind::PrintBegin) => "`{{`".to_owned(),
            Some(Kind::PrintEnd) => "`}}`".to_owned(),
            Some(Kind::Name(name)) => format!("`{name}`"),
            Some(Kind::Str(_)) => "a string".to_owned(),
            Some(Kind::Int(_) | Kind::Float(_)) => "a number".to_owned(),
            Some(Kind::Op(op)) => format!("`{op}`"),
        };
        self.error(format!("expected {expected}, found {found}"))
    }

    /// Runs `inside` one level deeper.
    pub(super) fn deeper<T>(&mut self, inside: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH {
            let limit = u64::try_from(DEPTH).unwrap_or(u64::MAX);
            return Err(TemplateError::Limit {
                line: self.line,
                limit,
                of: Bound::Depth,
            });
        }
        self.depth = self.depth.saturating_add(1);
        let result = inside(self);
        self.depth = self.depth.saturating_sub(1);
        result
    }

    pub(super) fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Some(Kind::Op(found)) if *found == op)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Kind::Name(found)) if found == word)
    }

    pub(super) fn skip_op(&mut self, op: &str) -> bool {
        let skips = self.is_op(op);
        if skips {
            self.next();
        }
        skips
    }

    pub(super) fn skip_word(&mut self, word: &str) -> bool {
        let skips = self.is_word(word);
        if skips {
            self.next();
        }
        skips
    }

    pub(super) fn expect_op(&mut self, op: &str) -> Parsed<()> {
        if self.skip_op(op) {
            Ok(())
        } else {
            self.unexpected(&format!("`{op}`"))
        }
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.skip_word(word) {
            Ok(())
        } else {
            self.unexpected(&format!("`{word}`"))
        }
    }

    pub(super) fn name(&mut self) -> Parsed<Name> {
        let Some(Kind::Name(name)) = self.peek() else {
            return self.unexpected("a name");
        };
        self.next();
        Ok(Name::from(name.as_str()))
    }

    fn block_end(&mut self) -> Parsed<()> {
        if self.peek() != Some(&Kind::BlockEnd) {
            return self.unexpected("`%}`");
        }
        self.next();
        Ok(())
    }

    /// Statements up to a tag that begins with one of `ends`, whose word is taken and returned. With
    /// no ends, up to the end of the template.
    fn block(&mut self, ends: &[&'static str]) -> Parsed<(Block, &'static str)> {
        let mut body = Block::new();
        let opened = self.line;
        while let Some(kind) = self.next() {
            let line = self.line;
            let kind = match kind {
                Kind::Data(text) => StmtKind::Text(text.clone()),
                Kind::PrintBegin => {
                    let value = self.tuple(true)?;
                    if self.peek() != Some(&Kind::PrintEnd) {
                        return self.unexpected("`}}`");
                    }
                    self.next();
                    StmtKind::Print(value)
                }
                Kind::BlockBegin => {
                    if let Some(end) = ends.iter().find(|end| self.is_word(end)) {
                        self.next();
                        return Ok((body, end));
                    }
                    self.deeper(Self::statement)?
                }
                _ => return self.error("a tag ends that has not begun"),
            };
            body.push(Stmt { line, kind });
        }
        match ends.last() {
            None => Ok((body, "")),
            Some(end) => Err(TemplateError::Syntax {
                line: opened,
                what: format!("the block that begins here has no `{{% {end} %}}`"),
            }),
        }
    }

    /// Statements up to the tag `end`, and that tag.
    fn body(&mut self, end: &'static str) -> Parsed<Block> {
        let (body, _) = self.block(&[end])?;
        self.block_end()?;
        Ok(body)
    }

    fn statement(&mut self) -> Parsed<StmtKind> {
        let Some(Kind::Name(word)) = self.next() else {
            return self.error("a tag must begin with a word, as in `{% if %}`");
        };
        match word.as_str() {
            "if" => self.if_statement(),
            "for" => self.for_statement(),
            "set" => self.set_statement(),
            "macro" => self.macro_statement(),
            "call" => self.call_statement(),
            "filter" => {
                let filters = self.filters(true)?;
                self.block_end()?;
                Ok(StmtKind::FilterBlock(filters, self.body("endfilter")?))
            }
            "with" => self.with_statement(),
            "print" => {
                let value = self.tuple(true)?;
                self.block_end()?;
                Ok(StmtKind::Print(value))
            }
            "generation" => {
                self.block_end()?;
                Ok(StmtKind::Scope(self.body("endgeneration")?))
            }
            "block" => self.block_statement(),
            "break" => self.block_end().map(|()| StmtKind::Break),
            "continue" => self.block_end().map(|()| StmtKind::Continue),
            "include" => self.load_statement("include"),
            "import" | "from" => self.load_statement("import"),
            "extends" => self.load_statement("extends"),
            unknown => self.error(format!("unknown tag `{unknown}`")),
        }
    }

    fn if_statement(&mut self) -> Parsed<StmtKind> {
        let mut branches = Vec::new();
        loop {
            let test = self.tuple(false)?;
            self.block_end()?;
            let (body, end) = self.block(&["elif", "else", "endif"])?;
            branches.push((test, body));
            match end {
                "elif" => {}
                "else" => {
                    self.block_end()?;
                    return Ok(StmtKind::If(branches, self.body("endif")?));
                }
                _ => {
                    self.block_end()?;
                    return Ok(StmtKind::If(branches, Block::new()));
                }
            }
        }
    }

    fn for_statement(&mut self) -> Parsed<StmtKind> {
        let target = self.target(false)?;
        self.expect_word("in")?;
        let iter = self.tuple(false)?;
        let filter = if self.skip_word("if") {
            Some(self.expression()?)
        } else {
            None
        };
        let recursive = self.skip_word("recursive");
        self.block_end()?;
        let (body, end) = self.block(&["else", "endfor"])?;
        self.block_end()?;
        let otherwise = if end == "else" {
            self.body("endfor")?
        } else {
            Block::new()
        };
        Ok(StmtKind::For(Arc::new(For {
            target,
            iter,
            filter,
            recursive,
            body,
            otherwise,
        })))
    }

    fn set_statement(&mut self) -> Parsed<StmtKind> {
        let target = self.target(true)?;
        if self.skip_op("=") {
            let value = self.tuple(true)?;
            self.block_end()?;
            return Ok(StmtKind::Set(target, value));
        }
        let filters = self.filters(false)?;
        self.block_end()?;
        Ok(StmtKind::SetBlock(target, filters, self.body("endset")?))
    }

    fn with_statement(&mut self) -> Parsed<StmtKind> {
        let mut values = Vec::new();
        while self.peek() != Some(&Kind::BlockEnd) {
            if !values.is_empty() {
                self.expect_op(",")?;
            }
            let target = self.target(false)?;
            self.expect_op("=")?;
            values.push((target, self.expression()?));
        }
        self.block_end()?;
        Ok(StmtKind::With(values, self.body("endwith")?))
    }

    fn block_statement(&mut self) -> Parsed<StmtKind> {
        self.name()?;
        while self.skip_word("scoped") || self.skip_word("required") {}
        self.block_end()?;
        let (body, _) = self.block(&["endblock"])?;
        if matches!(self.peek(), Some(Kind::Name(_))) {
            self.next();
        }
        self.block_end()?;
        Ok(StmtKind::Scope(body))
    }

    /// There is nothing to load from; the rest of the tag has no meaning.
    fn load_statement(&mut self, what: &'static str) -> Parsed<StmtKind> {
        while self.peek().is_some_and(|kind| *kind != Kind::BlockEnd) {
            self.next();
        }
        self.block_end()?;
        Ok(StmtKind::Load(what))
    }

    fn macro_statement(&mut self) -> Parsed<StmtKind> {
        let name = self.name()?;
        let params = self.parameters()?;
        self.block_end()?;
        Ok(StmtKind::Macro(self.macro_body(name, params, "endmacro")?))
    }

    fn call_statement(&mut self) -> Parsed<StmtKind> {
        let params = if self.is_op("(") {
            self.parameters()?
        } else {
            Vec::new()
        };
        let call = self.expression()?;
        if !matches!(call, Expr::Call(..)) {
            return self.error("`{% call %}` needs a call");
        }
        self.block_end()?;
        let caller = self.macro_body(Name::from("caller"), params, "endcall")?;
        Ok(StmtKind::Call(call, caller))
    }

    fn macro_body(
        &mut self,
        name: Name,
        params: Vec<(Name, Option<Expr>)>,
        end: &'static str,
    ) -> Parsed<Arc<Macro>> {
        let outer = std::mem::take(&mut self.uses);
        let body = self.body(end)?;
        let uses = std::mem::replace(&mut self.uses, outer);
        Ok(Arc::new(Macro {
            name,
            params,
            body,
            uses,
        }))
    }

    fn parameters(&mut self) -> Parsed<Vec<(Name, Option<Expr>)>> {
        self.expect_op("(")?;
        let mut params: Vec<(Name, Option<Expr>)> = Vec::new();
        while !self.is_op(")") {
            if !params.is_empty() {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            let name = self.name()?;
            let default = if self.skip_op("=") {
                Some(self.expression()?)
            } else {
                None
            };
            if default.is_none() && params.iter().any(|(_, default)| default.is_some()) {
                return self.error("a parameter without a default follows one with a default");
            }
            params.push((name, default));
        }
        self.expect_op(")")?;
        Ok(params)
    }

    /// `name`, `a, b`, `(a, b)`, or `namespace.attribute` where `attributes` are allowed.
    fn target(&mut self, attributes: bool) -> Parsed<Target> {
        let first = self.one_target(attributes)?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut targets = vec![first];
        while self.skip_op(",") {
            if !matches!(self.peek(), Some(Kind::Name(_) | Kind::Op("("))) || self.is_word("in") {
                break;
            }
            targets.push(self.one_target(attributes)?);
        }
        Ok(Target::Tuple(targets))
    }

    fn one_target(&mut self, attributes: bool) -> Parsed<Target> {
        if self.skip_op("(") {
            let target = self.deeper(|parser| parser.target(attributes))?;
            self.expect_op(")")?;
            return Ok(target);
        }
        let name = self.name()?;
        if ["true", "false", "none", "True", "False", "None"].contains(&name.as_ref()) {
            return self.error(format!("cannot assign to `{name}`"));
        }
        if attributes && self.skip_op(".") {
            return Ok(Target::Attribute(name, self.name()?));
        }
        Ok(Target::Name(name))
    }

    /// `| filter | filter`; with `inline`, the first stands without its bar.
    fn filters(&mut self, inline: bool) -> Parsed<Vec<FilterCall>> {
        let mut filters = Vec::new();
        if inline {
            filters.push(self.filter_call()?);
        }
        while self.skip_op("|") {
            filters.push(self.filter_call()?);
        }
        Ok(filters)
    }
}
