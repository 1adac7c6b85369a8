//! The expressions of the grammar, by descending precedence.
use super::ast::{Args, Compare, Expr, FilterCall, Math, Name};
use super::lexer::Kind;
use super::parser::{Parsed, Parser};

/// Links of one chain, such as `a.b.c` or `a | b | c`: each is a level for the evaluator.
const CHAIN: usize = 30;

impl Parser<'_> {
    /// A whole expression: `a if b else c`.
    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        self.deeper(|parser| {
            let mut value = parser.or()?;
            let mut links = 0;
            while parser.skip_word("if") {
                parser.link(&mut links)?;
                let test = parser.or()?;
                let otherwise = match parser.skip_word("else") {
                    true => Some(Box::new(parser.expression()?)),
                    false => None,
                };
                value = Expr::If(Box::new([value, test]), otherwise);
            }
            Ok(value)
        })
    }

    fn link(&mut self, links: &mut usize) -> Parsed<()> {
        *links = links.saturating_add(1);
        if *links > CHAIN {
            return self.error(format!("more than {CHAIN} links in one chain"));
        }
        Ok(())
    }

    fn or(&mut self) -> Parsed<Expr> {
        let first = self.and()?;
        if !self.is_word("or") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_word("or") {
            parts.push(self.and()?);
        }
        Ok(Expr::Or(parts))
    }

    fn and(&mut self) -> Parsed<Expr> {
        let first = self.not()?;
        if !self.is_word("and") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_word("and") {
            parts.push(self.not()?);
        }
        Ok(Expr::And(parts))
    }

    fn not(&mut self) -> Parsed<Expr> {
        if self.skip_word("not") {
            return self.deeper(|parser| Ok(Expr::Not(Box::new(parser.not()?))));
        }
        self.compare()
    }

    fn compare(&mut self) -> Parsed<Expr> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let op = match self.peek() {
                Some(Kind::Op("==")) => Compare::Eq,
                Some(Kind::Op("!=")) => Compare::Ne,
                Some(Kind::Op("<")) => Compare::Lt,
                Some(Kind::Op("<=")) => Compare::Le,
                Some(Kind::Op(">")) => Compare::Gt,
                Some(Kind::Op(">=")) => Compare::Ge,
                Some(Kind::Name(word)) if word == "in" => Compare::In,
                Some(Kind::Name(word))
                    if word == "not"
                        && matches!(self.peek_second(), Some(Kind::Name(w)) if w == "in") =>
                {
                    self.next();
                    Compare::NotIn
                }
                _ => break,
            };
            self.next();
            rest.push((op, self.sum()?));
        }
        Ok(if rest.is_empty() {
            first
        } else {
            Expr::Compare(Box::new(first), rest)
        })
    }

    /// Operators of one precedence, from left to right.
    fn math(
        &mut self,
        ops: &[(&str, Math)],
        operand: fn(&mut Self) -> Parsed<Expr>,
    ) -> Parsed<Expr> {
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Some((_, op)) = ops.iter().find(|(symbol, _)| self.is_op(symbol)) {
            self.next();
            rest.push((*op, operand(self)?));
        }
        Ok(if rest.is_empty() {
            first
        } else {
            Expr::Math(Box::new(first), rest)
        })
    }

    fn sum(&mut self) -> Parsed<Expr> {
        self.math(&[("+", Math::Add), ("-", Math::Sub)], Self::concat)
    }

    fn concat(&mut self) -> Parsed<Expr> {
        let first = self.product()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_op("~") {
            parts.push(self.product()?);
        }
        Ok(Expr::Concat(parts))
    }

    fn product(&mut self) -> Parsed<Expr> {
        let ops = [
            ("*", Math::Mul),
            ("/", Math::Div),
            ("//", Math::FloorDiv),
            ("%", Math::Mod),
        ];
        self.math(&ops, |parser| {
            parser.math(&[("**", Math::Pow)], |parser| parser.unary(true))
        })
    }

    fn unary(&mut self, with_filters: bool) -> Parsed<Expr> {
        let node = if self.skip_op("-") {
            self.deeper(|parser| Ok(Expr::Negative(Box::new(parser.unary(false)?))))?
        } else if self.skip_op("+") {
            self.deeper(|parser| Ok(Expr::Positive(Box::new(parser.unary(false)?))))?
        } else {
            let primary = self.primary()?;
            self.postfix(primary)?
        };
        if with_filters {
            self.filtered(node)
        } else {
            Ok(node)
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let Some(kind) = self.peek() else {
            return self.unexpected("a value");
        };
        let node = match kind {
            Kind::Name(name) => self.named(name),
            Kind::Int(value) => Expr::Int(*value),
            Kind::Float(value) => Expr::Float(*value),
            Kind::Str(_) => return Ok(self.strings()),
            Kind::Op("(") => {
                self.next();
                let value = self.tuple_or_nothing()?;
                self.expect_op(")")?;
                return Ok(value);
            }
            Kind::Op("[") => {
                self.next();
                return Ok(Expr::List(self.list("]")?));
            }
            Kind::Op("{") => {
                self.next();
                return self.dict();
            }
            _ => return self.unexpected("a value"),
        };
        self.next();
        Ok(node)
    }

    fn named(&mut self, name: &str) -> Expr {
        match name {
            "true" | "True" => return Expr::Bool(true),
            "false" | "False" => return Expr::Bool(false),
            "none" | "None" => return Expr::None,
            "varargs" => self.uses.varargs = true,
            "kwargs" => self.uses.kwargs = true,
            "caller" => self.uses.caller = true,
            _ => {}
        }
        Expr::Name(Name::from(name))
    }

    /// String literals that follow one another are one string.
    fn strings(&mut self) -> Expr {
        let mut text = String::new();
        while let Some(Kind::Str(part)) = self.peek() {
            text.push_str(part);
            self.next();
        }
        Expr::Str(Name::from(text))
    }

    /// Expressions with commas between them, up to the bracket `end`.
    fn list(&mut self, end: &str) -> Parsed<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.is_op(end) {
            if !items.is_empty() {
                self.expect_op(",")?;
                if self.is_op(end) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        self.expect_op(end)?;
        Ok(items)
    }

    fn dict(&mut self) -> Parsed<Expr> {
        let mut items = Vec::new();
        while !self.is_op("}") {
            if !items.is_empty() {
                self.expect_op(",")?;
                if self.is_op("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect_op(":")?;
            items.push((key, self.expression()?));
        }
        self.expect_op("}")?;
        Ok(Expr::Dict(items))
    }

    /// `a`, or `a, b` as a tuple. Without `conditional`, an `if` after it is not part of it.
    pub(super) fn tuple(&mut self, conditional: bool) -> Parsed<Expr> {
        let item = |parser: &mut Self| match conditional {
            true => parser.expression(),
            false => parser.deeper(Self::or),
        };
        let first = item(self)?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip_op(",") {
            if self.tuple_ends() {
                break;
            }
            items.push(item(self)?);
        }
        Ok(Expr::Tuple(items))
    }

    fn tuple_or_nothing(&mut self) -> Parsed<Expr> {
        if self.is_op(")") {
            return Ok(Expr::Tuple(Vec::new()));
        }
        self.tuple(true)
    }

    fn tuple_ends(&self) -> bool {
        matches!(
            self.peek(),
            None | Some(Kind::PrintEnd | Kind::BlockEnd | Kind::Op(")"))
        ) || self.is_word("recursive")
    }

    /// `.name`, `[item]` and `(arguments)` after a value.
    fn postfix(&mut self, mut node: Expr) -> Parsed<Expr> {
        let mut links = 0;
        loop {
            if self.skip_op(".") {
                node = match self.peek() {
                    Some(Kind::Int(index)) => {
                        self.next();
                        Expr::Item(Box::new(node), Box::new(Expr::Int(*index)))
                    }
                    _ => Expr::Attribute(Box::new(node), self.name()?),
                };
            } else if self.skip_op("[") {
                node = self.subscript(node)?;
            } else if self.is_op("(") {
                node = Expr::Call(Box::new(node), Box::new(self.arguments()?));
            } else {
                return Ok(node);
            }
            self.link(&mut links)?;
        }
    }

    fn subscript(&mut self, node: Expr) -> Parsed<Expr> {
        let mut parts: [Option<Expr>; 3] = [None, None, None];
        let mut colons = 0usize;
        for part in &mut parts {
            if !self.is_op(":") && !self.is_op("]") && !self.is_op(",") {
                *part = Some(self.expression()?);
            }
            if !self.is_op(":") || colons == 2 {
                break;
            }
            self.next();
            colons = colons.saturating_add(1);
        }
        let [start, stop, step] = parts;
        if colons > 0 {
            self.expect_op("]")?;
            return Ok(Expr::Slice(Box::new(node), Box::new([start, stop, step])));
        }
        let Some(item) = start else {
            return self.unexpected("an index");
        };
        if !self.is_op(",") {
            self.expect_op("]")?;
            return Ok(Expr::Item(Box::new(node), Box::new(item)));
        }
        let mut items = vec![item];
        while self.skip_op(",") {
            items.push(self.expression()?);
        }
        self.expect_op("]")?;
        Ok(Expr::Item(Box::new(node), Box::new(Expr::Tuple(items))))
    }

    /// `| filter` and `is test` after a value.
    fn filtered(&mut self, mut node: Expr) -> Parsed<Expr> {
        let mut links = 0;
        loop {
            if self.skip_op("|") {
                node = Expr::Filter(Box::new(node), self.filter_call()?);
            } else if self.skip_word("is") {
                node = self.test(node)?;
            } else if self.is_op("(") {
                node = Expr::Call(Box::new(node), Box::new(self.arguments()?));
            } else {
                return Ok(node);
            }
            self.link(&mut links)?;
        }
    }

    pub(super) fn filter_call(&mut self) -> Parsed<FilterCall> {
        let name = self.dotted_name()?;
        let args = if self.is_op("(") {
            self.arguments()?
        } else {
            Args::default()
        };
        Ok(FilterCall {
            name,
            args: Box::new(args),
        })
    }

    fn dotted_name(&mut self) -> Parsed<Name> {
        let mut name = self.name()?.to_string();
        while self.skip_op(".") {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(Name::from(name))
    }

    fn test(&mut self, node: Expr) -> Parsed<Expr> {
        let negated = self.skip_word("not");
        let name = self.dotted_name()?;
        let mut args = Args::default();
        if self.is_op("(") {
            args = self.arguments()?;
        } else if self.takes_bare_argument() {
            if self.is_word("is") {
                return self.error("two tests with `is` cannot follow one another");
            }
            let argument = self.primary()?;
            args.positional.push(self.postfix(argument)?);
        }
        let test = Expr::Test(
            Box::new(node),
            FilterCall {
                name,
                args: Box::new(args),
            },
        );
        Ok(if negated {
            Expr::Not(Box::new(test))
        } else {
            test
        })
    }

    /// Whether a test without brackets is followed by its argument, as in `x is divisibleby 3`.
    fn takes_bare_argument(&self) -> bool {
        match self.peek() {
            // Jinja2 also reads `if` as an argument's name here; no template can mean that.
            Some(Kind::Name(word)) => {
                !["else", "or", "and", "if", "recursive", "in", "not"].contains(&word.as_str())
            }
            Some(Kind::Str(_) | Kind::Int(_) | Kind::Float(_)) => true,
            Some(Kind::Op(op)) => ["[", "{"].contains(op),
            _ => false,
        }
    }

    fn arguments(&mut self) -> Parsed<Args> {
        self.expect_op("(")?;
        let mut args = Args::default();
        let mut first = true;
        while !self.is_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            first = false;
            if self.skip_op("**") {
                args.double_star = Some(self.expression()?);
            } else if self.skip_op("*") {
                args.star = Some(self.expression()?);
            } else if let (Some(Kind::Name(name)), Some(Kind::Op("="))) =
                (self.peek(), self.peek_second())
            {
                self.next();
                self.next();
                args.named
                    .push((Name::from(name.as_str()), self.expression()?));
            } else if !args.named.is_empty() || args.star.is_some() || args.double_star.is_some() {
                return self.error("an argument without a name follows one with a name");
            } else {
                args.positional.push(self.expression()?);
            }
        }
        self.expect_op(")")?;
        Ok(args)
    }
}
