//! A reader of Rust sources that knows just enough to tell code from comments and texts, and where functions end.

/// `source` with the contents of comments, strings and character literals blanked. Lengths and lines stay as they are.
#[must_use]
pub fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = at + token_len(&bytes[at..], out.last().copied());
        let blank = end - at > 1;
        out.extend(bytes[at..end].iter().map(|byte| if blank && *byte != b'\n' { b' ' } else { *byte }));
        at = end;
    }
    String::from_utf8(out).expect("multi-byte characters are copied or blanked as a whole")
}

/// The length of the comment or literal that begins here, else 1. Bytes of a multi-byte character count one by one.
fn token_len(rest: &[u8], before: Option<u8>) -> usize {
    if rest.starts_with(b"//") {
        return rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return block_comment_len(rest);
    }
    let in_word = before.is_some_and(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    let prefix = if in_word {
        0
    } else {
        [&b"br"[..], b"cr", b"b", b"c", b"r"].iter().find(|p| rest.starts_with(p)).map_or(0, |p| p.len())
    };
    let raw = prefix > 0 && rest[prefix - 1] == b'r';
    let after = &rest[prefix..];
    if raw {
        let hashes = after.iter().take_while(|byte| **byte == b'#').count();
        if after.get(hashes) == Some(&b'"') {
            return prefix + raw_string_len(after, hashes);
        }
        return 1;
    }
    match after.first() {
        Some(b'"') => prefix + quoted_len(after, b'"'),
        Some(b'\'') if is_char_literal(after) => prefix + quoted_len(after, b'\''),
        Some(_) | None => 1,
    }
}

fn block_comment_len(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn raw_string_len(rest: &[u8], hashes: usize) -> usize {
    let mut end = vec![b'"'];
    end.extend(std::iter::repeat_n(b'#', hashes));
    let open = hashes + 1;
    let close = rest[open..].windows(end.len()).position(|window| window == end);
    close.map_or(rest.len(), |at| open + at + end.len())
}

fn quoted_len(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    rest.len().min(at + 1)
}

/// `'a'` or `'\n'`, not the lifetime `'a`.
fn is_char_literal(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\') => true,
        Some(first) => {
            let width = match first {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                0xf0.. => 4,
            };
            rest.get(1 + width) == Some(&b'\'')
        }
        None => false,
    }
}

/// A function found in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines from there to its closing brace, both included.
    pub lines: usize,
}

/// Every function with a body in `code`, which comes from [`code_only`].
#[must_use]
pub fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (start, _) in words(code).filter(|(_, word)| *word == "fn") {
        let after = &code[start + 2..];
        // `fn(u64) -> u64` is a type.
        let name = words(after).next().filter(|_| after.starts_with(char::is_whitespace));
        let (Some((_, name)), Some(End::Block(len))) = (name, end(&code[start..])) else { continue };
        let text = &code[start..start + len];
        let line = code[..start].matches('\n').count() + 1;
        found.push(Function { name: name.to_owned(), line, lines: text.matches('\n').count() + 1 });
    }
    found
}

/// `code` (from [`code_only`]) without what is compiled for tests only: whatever `#[cfg(test)]` stands before.
#[must_use]
pub fn without_tests(code: &str) -> String {
    let mark = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(mark) {
        let item = &rest[at + mark.len()..];
        let len = match end(item) {
            Some(End::Block(len) | End::Semicolon(len)) => len,
            None => item.len(),
        };
        out.push_str(&rest[..at]);
        out.extend(item[..len].chars().filter(|c| *c == '\n'));
        rest = &item[len..];
    }
    out.push_str(rest);
    out
}

/// Where the item that begins here ends.
enum End {
    /// After its block.
    Block(usize),
    /// After its semicolon, without a block.
    Semicolon(usize),
}

/// The end of the item that begins here; `None` if the text ends before.
fn end(item: &str) -> Option<End> {
    let (mut braces, mut others) = (0_usize, 0_i64);
    for (at, byte) in item.bytes().enumerate() {
        match byte {
            b'(' | b'[' => others += 1,
            b')' | b']' => others -= 1,
            b';' if braces == 0 && others == 0 => return Some(End::Semicolon(at + 1)),
            b'{' => braces += 1,
            b'}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 && others == 0 {
                    return Some(End::Block(at + 1));
                }
            }
            _ => {}
        }
    }
    None
}

/// The modules in other files that `code` (from [`code_only`]) declares for tests only.
#[must_use]
pub fn test_modules(code: &str) -> Vec<String> {
    let items = code.split("#[cfg(test)]").skip(1);
    let declarations = items.filter_map(|item| match end(item) {
        Some(End::Semicolon(len)) => Some(&item[..len]),
        Some(End::Block(_)) | None => None,
    });
    let name = |item: &str| {
        let mut words = words(item).map(|(_, word)| word);
        words.find(|word| *word == "mod").and(words.next()).map(str::to_owned)
    };
    declarations.filter_map(name).collect()
}

/// Every word of `code` with where it begins.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c == '_' || c.is_alphanumeric();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(is_word)?;
        let len = code[start..].find(|c: char| !is_word(c)).unwrap_or(code.len() - start);
        at = start + len;
        Some((start, &code[start..at]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_are_blanked() {
        for (source, expected) in [
            ("a // b {\nc", "a       \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"a("{\"}", b)"#, r"a(      , b)"),
            (r##"a(r#"{"}"#, b)"##, r"a(        , b)"),
            (r"a('{', '\'', b'}')", "a(   ,     ,     )"),
            ("fn a<'b>(c: &'b str) {}", "fn a<'b>(c: &'b str) {}"),
            ("attr\"{\"", "attr   "),
            ("r#type", "r#type"),
            ("'\u{e4}' + \"\u{1f980}\n{\"", "     +      \n  "),
        ] {
            assert_eq!(code_only(source), expected, "{source}");
        }
    }

    #[test]
    fn functions_end_at_their_own_brace() {
        assert_eq!(functions("struct A(fn(u64) -> u64);\nconst B: [u8; 1] = [{ 0 }];\n"), []);
        let code = "fn a() -> [u8; 2] {\n    if b { c }\n    d\n}\ntrait E { fn f(&self);\nfn g() {} }\n";
        let function = |name: &str, line, lines| Function { name: name.to_owned(), line, lines };
        assert_eq!(functions(code), [function("a", 1, 4), function("g", 6, 1)]);
        let inner = "fn outer() {\n    fn inner() {\n    }\n}";
        assert_eq!(functions(inner), [function("outer", 1, 4), function("inner", 2, 2)]);
    }

    #[test]
    fn modules_for_tests_are_told_from_others() {
        let code =
            "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\npub(crate) mod c;\n#[cfg(test)]\nmod d { mod e; }\nmod f;";
        assert_eq!(test_modules(code), ["b", "c"]);
        assert_eq!(test_modules("#[cfg(test)]\nuse a::b;"), [""; 0]);
    }

    #[test]
    fn what_only_tests_see_is_left_out() {
        let code = "a\n#[cfg(test)]\nmod tests {\n    b { c }\n}\nd\n#[cfg(test)]\nmod e;\nf";
        assert_eq!(without_tests(code), "a\n\n\n\n\nd\n\n\nf");
        assert_eq!(without_tests("#[cfg(test)]\nconst A: [u8; 2] = [b, c];\nd"), "\n\nd");
    }
}
