//! The functions that an expression may call, and how much work each is.

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `f(a)`.
    Global,
    /// `a.f()`.
    Method,
    /// Both, with the object as the first argument.
    Either,
}

/// How much work a call is, and how large what it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Looks at what it is given once, and returns a scalar.
    Looks,
    /// Looks at each part of one for each part of the other, and returns a scalar.
    LooksAtPairs,
    /// Tries a pattern, which is a literal.
    Matches,
    /// Returns something that is no larger than what it is given.
    Keeps,
    /// Returns the parts of a string.
    Splits,
    /// Returns the parts of a list with something between them.
    Joins,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Function {
    pub name: &'static str,
    pub style: Style,
    /// How many arguments, with the object of a method.
    pub arguments: (usize, usize),
    pub work: Work,
}

const fn row(name: &'static str, style: Style, arguments: (usize, usize), work: Work) -> Function {
    Function {
        name,
        style,
        arguments,
        work,
    }
}

use Style::{Either, Global, Method};
use Work::{Joins, Keeps, Looks, LooksAtPairs, Matches, Splits};

const FUNCTIONS: [Function; 46] = [
    row("size", Either, (1, 1), Looks),
    row("contains", Method, (2, 2), LooksAtPairs),
    row("startsWith", Method, (2, 2), Looks),
    row("endsWith", Method, (2, 2), Looks),
    row("matches", Method, (2, 2), Matches),
    row("find", Method, (2, 2), Matches),
    row("string", Global, (1, 1), Keeps),
    row("int", Global, (1, 1), Looks),
    row("uint", Global, (1, 1), Looks),
    row("double", Global, (1, 1), Looks),
    row("duration", Global, (1, 1), Looks),
    row("timestamp", Global, (1, 1), Looks),
    row("getHours", Method, (1, 1), Looks),
    row("getMinutes", Method, (1, 1), Looks),
    row("getSeconds", Method, (1, 1), Looks),
    row("lowerAscii", Method, (1, 1), Keeps),
    row("upperAscii", Method, (1, 1), Keeps),
    row("trim", Method, (1, 1), Keeps),
    row("substring", Method, (2, 3), Keeps),
    row("split", Method, (2, 2), Splits),
    row("join", Method, (1, 2), Joins),
    row("indexOf", Method, (2, 2), LooksAtPairs),
    row("lastIndexOf", Method, (2, 2), LooksAtPairs),
    row("isSorted", Method, (1, 1), Looks),
    row("sum", Method, (1, 1), Looks),
    row("min", Method, (1, 1), Keeps),
    row("max", Method, (1, 1), Keeps),
    row("sets.contains", Global, (2, 2), LooksAtPairs),
    row("sets.equivalent", Global, (2, 2), LooksAtPairs),
    row("sets.intersects", Global, (2, 2), LooksAtPairs),
    row("semver", Global, (1, 2), Keeps),
    row("isSemver", Global, (1, 2), Looks),
    row("major", Method, (1, 1), Looks),
    row("minor", Method, (1, 1), Looks),
    row("patch", Method, (1, 1), Looks),
    row("isLessThan", Method, (2, 2), Looks),
    row("isGreaterThan", Method, (2, 2), Looks),
    row("compareTo", Method, (2, 2), Looks),
    row("quantity", Global, (1, 1), Keeps),
    row("isQuantity", Global, (1, 1), Looks),
    row("isInteger", Method, (1, 1), Looks),
    row("asInteger", Method, (1, 1), Looks),
    row("asApproximateFloat", Method, (1, 1), Looks),
    row("sign", Method, (1, 1), Looks),
    row("add", Method, (2, 2), Keeps),
    row("sub", Method, (2, 2), Keeps),
];

/// What others evaluate and Instar doesn't: the library lacks it, or what it makes may be of any size.
const LACKING: [&str; 87] = [
    "allowed",
    "authorizer",
    "base64.decode",
    "base64.encode",
    "bool",
    "bytes",
    "cel.bind",
    "charAt",
    "check",
    "cidr",
    "containsCIDR",
    "containsIP",
    "distinct",
    "dyn",
    "errored",
    "family",
    "fieldSelector",
    "filter",
    "findAll",
    "first",
    "flatten",
    "format",
    "format.dns1123Label",
    "format.dns1123Subdomain",
    "format.named",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getEscapedPath",
    "getFullYear",
    "getHost",
    "getHostname",
    "getMilliseconds",
    "getMonth",
    "getPort",
    "getQuery",
    "getScheme",
    "group",
    "hasValue",
    "ip",
    "ip.isCanonical",
    "isCIDR",
    "isCanonical",
    "isGlobalUnicast",
    "isIP",
    "isLoopback",
    "isURL",
    "isUnspecified",
    "jsonpatch.escapeKey",
    "labelSelector",
    "last",
    "lists.range",
    "map",
    "masked",
    "math.abs",
    "math.bitAnd",
    "math.bitNot",
    "math.bitOr",
    "math.bitShiftLeft",
    "math.bitShiftRight",
    "math.bitXor",
    "math.ceil",
    "math.floor",
    "math.greatest",
    "math.least",
    "math.round",
    "math.sign",
    "math.sqrt",
    "math.trunc",
    "namespace",
    "optMap",
    "optional.none",
    "optional.of",
    "optional.ofNonZeroValue",
    "or",
    "orValue",
    "prefixLength",
    "quote",
    "reason",
    "replace",
    "reverse",
    "slice",
    "sort",
    "sortBy",
    "strings.quote",
    "type",
];

/// The function of that name.
pub(super) fn function(name: &str) -> Option<Function> {
    FUNCTIONS.iter().find(|function| function.name == name).copied()
}

/// Why there is none of that name.
pub(super) fn lacking(name: &str) -> &'static str {
    const TWO_VARIABLES: [&str; 4] = ["all", "exists", "existsOne", "exists_one"];
    const MACROS: [&str; 4] = ["transformList", "transformMap", "transformMapEntry", "optFlatMap"];
    if TWO_VARIABLES.contains(&name) || MACROS.contains(&name) {
        "Instar has comprehensions of one variable: list.all(x, ...)"
    } else if LACKING.contains(&name) {
        "Instar doesn't evaluate it"
    } else {
        "there is none of that name"
    }
}

#[cfg(test)]
mod tests {
    use kube_cel::{
        KubeCelExt,
        cel::{Context, Program},
    };

    use super::*;

    /// A function that the library lacks would only fail when it is called.
    #[test]
    fn the_library_has_every_function() {
        let context = Context::default().with_all();
        for function in FUNCTIONS {
            let most = function.arguments.1;
            let arguments = |count: usize| vec!["''"; count].join(", ");
            let source = match function.style {
                Global | Either => format!("{}({})", function.name, arguments(most)),
                Method => format!("''.{}({})", function.name, arguments(most - 1)),
            };
            let result = Program::compile(&source).unwrap().execute(&context);
            let is_missing = result
                .as_ref()
                .is_err_and(|error| error.to_string().contains("Undeclared"));
            assert!(!is_missing, "{source}: {result:?}");
            assert_eq!(
                self::function(function.name),
                Some(function),
                "{} is there twice",
                function.name
            );
        }
    }

    #[test]
    fn what_is_lacking_is_not_there() {
        let both: Vec<_> = LACKING.iter().filter(|name| function(name).is_some()).collect();
        assert!(both.is_empty(), "{both:?}");
        assert!(LACKING.is_sorted());
    }
}
