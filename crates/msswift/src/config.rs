use granit_parser::{Event, Options, Parser, ScalarStyle};

use crate::mistake::{Mistake, shown};

/// A config file as it was read: keys with values, each with its line. Nothing in it has been believed yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub(crate) entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// A value. Text is as it stands in the file: what it means is said by the flag that it is for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Nothing, `null` or `~`.
    Nothing,
    Text(Text),
    List(Vec<Value>),
    Mapping(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// Whether it stands without quotes, so that it may be a number or a flag.
    pub(crate) is_plain: bool,
}

impl Config {
    /// The largest file that is read, in bytes.
    pub const MOST_BYTES: usize = 256 * 1024;

    /// Reads YAML, of which JSON is a part.
    ///
    /// Aliases, anchors, tags and further documents are refused, and so is what is deeper or longer than any config of
    /// ms-swift: reading takes memory in proportion to the file.
    ///
    /// # Errors
    ///
    /// The first mistake in its form: what follows it may have been read wrongly.
    pub fn read(bytes: &[u8]) -> Result<Self, Mistake> {
        if bytes.len() > Self::MOST_BYTES {
            let what =
                format!("{} bytes are more than a config may have ({})", bytes.len(), Self::MOST_BYTES);
            return Err(Mistake::of_the_file(what));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Mistake::of_the_file("not UTF-8"))?;
        let mut options = Options::default();
        // Else they come as events as soon as anything else in the build has the parser tell of them.
        options.set_emit_comments(false);
        let mut reader = Reader { events: Parser::new_from_str_with_options(text, options), nodes: 0 };
        let entries = reader.document()?;
        Ok(Self { entries })
    }

    /// The same of arguments `--name=value`, as a recipe adds them; the same name again makes a list.
    ///
    /// # Errors
    ///
    /// An argument that is not of this form.
    pub fn of_arguments<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Result<Self, Mistake> {
        let mut entries: Vec<Entry> = Vec::new();
        for argument in arguments {
            let argument = argument.as_ref();
            let (key, text) = argument
                .strip_prefix("--")
                .and_then(|rest| rest.split_once('='))
                .ok_or_else(|| Mistake::of_the_file(format!("not `--name=value`: `{}`", shown(argument))))?;
            let value = Value::Text(Text { text: text.to_owned(), is_plain: true });
            match entries.iter_mut().find(|entry| entry.key == key) {
                None => entries.push(Entry { key: key.to_owned(), line: 0, value }),
                Some(Entry { value: Value::List(items), .. }) => items.push(value),
                Some(entry) => {
                    let first = std::mem::replace(&mut entry.value, Value::Nothing);
                    entry.value = Value::List(vec![first, value]);
                }
            }
        }
        Ok(Self { entries })
    }

    /// Whether it has this key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }
}

struct Reader<'t> {
    events: Parser<'t, granit_parser::StrInput<'t>>,
    nodes: usize,
}

impl<'t> Reader<'t> {
    /// The next event that says something, with its line.
    fn next(&mut self) -> Result<(Event<'t>, usize), Mistake> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => {
                Err(Mistake::at(error.marker().line(), format!("not YAML: {}", shown(&error.info()))))
            }
            None => Ok((Event::StreamEnd, 1)),
        }
    }

    fn document(&mut self) -> Result<Vec<Entry>, Mistake> {
        loop {
            let (event, line) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd => return Err(Mistake::of_the_file("the config is empty")),
                other => {
                    let Value::Mapping(entries) = self.value(other, line, 0)? else {
                        return Err(Mistake::at(line, "not a config: keys with values were expected"));
                    };
                    if entries.len() > MOST_KEYS {
                        let what =
                            format!("{} keys are more than a config may have ({MOST_KEYS})", entries.len());
                        return Err(Mistake::of_the_file(what));
                    }
                    return self.nothing_follows().map(|()| entries);
                }
            }
        }
    }

    fn nothing_follows(&mut self) -> Result<(), Mistake> {
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(()),
                (_, line) => return Err(Mistake::at(line, "a second document in the file")),
            }
        }
    }

    fn value(&mut self, event: Event<'t>, line: usize, depth: usize) -> Result<Value, Mistake> {
        self.nodes += 1;
        if self.nodes > MOST_NODES || depth > DEEPEST {
            return Err(Mistake::at(line, "deeper or longer than any config of ms-swift"));
        }
        if event.tag().is_some() {
            return Err(Mistake::at(line, "tags (`!…`) are not read"));
        }
        if event.anchor_id().is_some() || event.is_alias() {
            return Err(Mistake::at(line, "anchors and aliases (`&…`, `*…`) are not read: write it out"));
        }
        match event {
            Event::Scalar(text, style, ..) => {
                let is_plain = style == ScalarStyle::Plain;
                if is_plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    return Ok(Value::Nothing);
                }
                Ok(Value::Text(Text { text: text.into_owned(), is_plain }))
            }
            Event::SequenceStart(..) => self.list(depth),
            Event::MappingStart(..) => self.mapping(depth),
            _ => Err(Mistake::at(line, "a value was expected")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Mistake> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, line) => items.push(self.value(event, line, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Mistake> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = std::collections::HashMap::new();
        loop {
            let (event, line) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Mapping(entries));
            }
            let Value::Text(Text { text: key, .. }) = self.value(event, line, depth + 1)? else {
                return Err(Mistake::at(line, "a key has to be a word"));
            };
            if let Some(first) = seen.insert(key.clone(), line) {
                let what = format!("`{}` stands twice; the first is in line {first}", shown(&key));
                return Err(Mistake::at(line, what));
            }
            let (event, at) = self.next()?;
            let value = self.value(event, at, depth + 1)?;
            entries.push(Entry { key, line, value });
        }
    }
}

/// A list of data sets or of target modules may be long.
const MOST_NODES: usize = 20_000;
const DEEPEST: usize = 16;
/// No verb has as many flags.
const MOST_KEYS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        Config::read(text.as_bytes()).map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn yaml_and_json_are_read_with_their_lines() {
        let config =
            read("# tiny\nmodel: /m\nlearning_rate: 1e-4\ndataset:\n  - a\n  - 'b'\nx: ~\n").unwrap();
        let keys: Vec<_> = config.entries.iter().map(|entry| (&*entry.key, entry.line)).collect();
        assert_eq!(keys, [("model", 2), ("learning_rate", 3), ("dataset", 4), ("x", 7)]);
        let text = |text: &str, is_plain| Value::Text(Text { text: text.into(), is_plain });
        assert_eq!(config.entries[1].value, text("1e-4", true));
        assert_eq!(config.entries[2].value, Value::List(vec![text("a", true), text("b", false)]));
        assert_eq!(config.entries[3].value, Value::Nothing);
        let json = read("{\"model\": \"/m\",\n \"columns\": {\"a\": 1}, \"x\": null}").unwrap();
        assert!(json.has("columns") && !json.has("a"));
    }

    #[test]
    fn what_could_grow_or_hide_something_is_refused() {
        for (text, told) in [
            ("a: &x 1\nb: *x\n", "line 1: anchors"),
            ("a: !!python/object:os.system x\n", "line 1: tags"),
            ("a: 1\n---\nb: 2\n", "second document"),
            ("a: 1\na: 2\n", "line 2: `a` stands twice; the first is in line 1"),
            ("- a\n", "not a config"),
            ("just text", "not a config"),
            ("", "empty"),
            ("a: [1, 2\n", "not YAML"),
            ("? [a, b]\n: 1\n", "a key has to be a word"),
            ("<<: {a: 1}\n", ""),
        ] {
            match read(text) {
                Ok(config) => assert!(told.is_empty() && config.has("<<"), "{text:?} was read"),
                Err(mistake) => assert!(mistake.contains(told), "{text:?}: {mistake}"),
            }
        }
    }

    #[test]
    fn depth_length_and_size_are_bounded() {
        let deep = format!("a: {}{}", "[".repeat(300), "]".repeat(300));
        assert!(read(&deep).unwrap_err().contains("not YAML") || read(&deep).unwrap_err().contains("deeper"));
        let deep = format!("a: {}{}", "[".repeat(40), "]".repeat(40));
        assert!(read(&deep).unwrap_err().contains("deeper"));
        assert!(read(&format!("a: [{}]", "1,".repeat(30_000))).unwrap_err().contains("longer"));
        let keys: String = (0..1_001).map(|number| format!("k{number}: 1\n")).collect();
        assert_eq!(read(&keys).unwrap_err(), "1001 keys are more than a config may have (1000)");
        assert!(read(&"#".repeat(Config::MOST_BYTES + 1)).unwrap_err().contains("bytes are more"));
        assert!(Config::read(b"a: \xff").unwrap_err().to_string().contains("UTF-8"));
    }
}
