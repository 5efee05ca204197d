//! Patterns of tensor names: literals and numbers. `{n}` matches a number that is
//! counted from n.

/// Replaces the prefix `from` of a name by `to`. A `from` that does not end in a
/// dot must match the whole name.
pub(super) fn translate(name: &str, from: &str, to: &str) -> Option<String> {
    let (numbers, rest) = match_prefix(name, from)?;
    if !rest.is_empty() && !from.ends_with('.') {
        return None;
    }
    let mut numbers = numbers.into_iter();
    let mut renamed = String::new();
    for (literal, base) in pieces(to) {
        renamed += literal;
        if let Some(base) = base {
            renamed += &numbers.next()?.checked_add(base)?.to_string();
        }
    }
    Some(renamed + rest)
}

/// Matches the beginning of `name` with `pattern`: the numbers, counted from
/// zero, and the rest of the name.
pub(super) fn match_prefix<'a>(name: &'a str, pattern: &str) -> Option<(Vec<u32>, &'a str)> {
    let mut rest = name;
    let mut numbers = Vec::new();
    for (literal, base) in pieces(pattern) {
        rest = rest.strip_prefix(literal)?;
        if let Some(base) = base {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            // `01` would be written back as `1`.
            if number.len() > 1 && number.starts_with('0') {
                return None;
            }
            numbers.push(number.parse::<u32>().ok()?.checked_sub(base)?);
            rest = after;
        }
    }
    Some((numbers, rest))
}

/// The literals of a pattern, each with the base of the number that follows.
fn pieces(pattern: &str) -> impl Iterator<Item = (&str, Option<u32>)> {
    pattern.split('}').map(|piece| match piece.split_once('{') {
        Some((literal, base)) => (literal, base.parse().ok()),
        None => (piece, None),
    })
}
