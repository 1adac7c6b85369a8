//! The syntax tree of a template.
use std::sync::Arc;

/// A name, shared between the tree and what runs it.
pub(super) type Name = Arc<str>;

/// Statements in order.
pub(super) type Block = Vec<Stmt>;

#[derive(Debug)]
pub(super) enum Expr {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Name),
    Name(Name),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    /// Operators of one precedence, from left to right.
    Math(Box<Expr>, Vec<(Math, Expr)>),
    Concat(Vec<Expr>),
    /// `a < b <= c` holds when each pair does.
    Compare(Box<Expr>, Vec<(Compare, Expr)>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    /// `then if test else otherwise`.
    If(Box<[Expr; 2]>, Option<Box<Expr>>),
    Attribute(Box<Expr>, Name),
    Item(Box<Expr>, Box<Expr>),
    /// `of[start:stop:step]`.
    Slice(Box<Expr>, Box<[Option<Expr>; 3]>),
    Call(Box<Expr>, Box<Args>),
    Filter(Box<Expr>, FilterCall),
    Test(Box<Expr>, FilterCall),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Math {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

/// The arguments of a call, a filter or a test.
#[derive(Debug, Default)]
pub(super) struct Args {
    pub(super) positional: Vec<Expr>,
    pub(super) named: Vec<(Name, Expr)>,
    /// `*rest`.
    pub(super) star: Option<Expr>,
    /// `**rest`.
    pub(super) double_star: Option<Expr>,
}

/// The name and the arguments of a filter or a test.
#[derive(Debug)]
pub(super) struct FilterCall {
    pub(super) name: Name,
    pub(super) args: Box<Args>,
}

/// What a value is assigned to.
#[derive(Debug)]
pub(super) enum Target {
    Name(Name),
    Tuple(Vec<Target>),
    /// `namespace.attribute`.
    Attribute(Name, Name),
}

/// A statement and the line where it begins.
#[derive(Debug)]
pub(super) struct Stmt {
    pub(super) line: usize,
    pub(super) kind: StmtKind,
}

#[derive(Debug)]
pub(super) enum StmtKind {
    Text(String),
    Print(Expr),
    /// Tests with their bodies, then `else`.
    If(Vec<(Expr, Block)>, Block),
    For(Arc<For>),
    Set(Target, Expr),
    /// `{% set x | filter %}...{% endset %}`.
    SetBlock(Target, Vec<FilterCall>, Block),
    Macro(Arc<Macro>),
    /// `{% call(args) macro() %}...{% endcall %}`: the call, and the body as a macro named `caller`.
    Call(Expr, Arc<Macro>),
    FilterBlock(Vec<FilterCall>, Block),
    With(Vec<(Target, Expr)>, Block),
    /// A body with variables of its own: `{% block %}`, `{% generation %}`.
    Scope(Block),
    Break,
    Continue,
    /// `include`, `import`, `extends`: there is nothing to load from.
    Load(&'static str),
}

#[derive(Debug)]
pub(super) struct For {
    pub(super) target: Target,
    pub(super) iter: Expr,
    pub(super) filter: Option<Expr>,
    pub(super) recursive: bool,
    pub(super) body: Block,
    pub(super) otherwise: Block,
}

#[derive(Debug)]
pub(super) struct Macro {
    pub(super) name: Name,
    /// Parameters with their defaults.
    pub(super) params: Vec<(Name, Option<Expr>)>,
    pub(super) body: Block,
    /// Which special names the body reads; only then are they accepted from a caller.
    pub(super) uses: Uses,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Uses {
    pub(super) varargs: bool,
    pub(super) kwargs: bool,
    pub(super) caller: bool,
}
