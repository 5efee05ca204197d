//! Parses a pickle without executing it. A pickle is a program for a stack
//! machine that can call any Python function. This parser records each call
//! instead; the result is a graph of plain objects.
//!
//! The objects are in one vector and refer to each other by index. Memory is
//! therefore proportional to the length of the pickle, even for shared and
//! nested objects, and there is no recursion.

use std::collections::HashMap;

/// Largest pickle in bytes, and most objects in one. A training checkpoint of a
/// thousand layers needs a tenth of either.
const MAX_BYTES: usize = 16 << 20;
const MAX_OBJECTS: usize = 1 << 19;

/// The index of an object in its [`Pickle`].
pub(super) type Id = usize;

/// Why a PyTorch file is rejected, as text for [`crate::Error::Malformed`].
pub(super) type Reason = String;

/// An object that the pickle creates, as far as state dicts need it.
pub(super) enum Object<'a> {
    /// None, bytes: not needed here.
    Opaque,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    /// A class or a function, by module and name.
    Global(&'a str, &'a str),
    /// A tuple, a list or a set.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// The result of calling a function with arguments.
    Call(Id, Id),
    /// A reference to data outside the pickle, with its identifier.
    Persistent(Id),
}

/// The objects of one pickle.
pub(super) struct Pickle<'a> {
    objects: Vec<Object<'a>>,
    /// The object that was pickled.
    pub(super) top: Id,
}

impl<'a> Pickle<'a> {
    /// Parses the pickle at the beginning of `stream`. Also returns the bytes
    /// after it.
    pub(super) fn parse(stream: &'a [u8]) -> Result<(Self, &'a [u8]), Reason> {
        let mut machine = Machine {
            stream: &stream[..stream.len().min(MAX_BYTES)],
            at: 0,
            objects: vec![Object::Opaque],
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        let top = machine
            .run()
            .map_err(|reason| format!("{reason} (byte {} of its pickle)", machine.at))?;
        let objects = machine.objects;
        Ok((Self { objects, top }, &stream[machine.at..]))
    }

    /// All objects in the order of their creation.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Object<'a>> {
        self.objects.iter()
    }

    pub(super) fn get(&self, id: Id) -> &Object<'a> {
        &self.objects[id]
    }
}

/// The index of the only opaque object.
pub(super) const OPAQUE: Id = 0;

struct Machine<'a> {
    stream: &'a [u8],
    at: usize,
    objects: Vec<Object<'a>>,
    stack: Vec<Id>,
    /// The height of the stack at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, Reason> {
        loop {
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
            if self.objects.len() > MAX_OBJECTS {
                return Err(format!("it creates more than {MAX_OBJECTS} objects"));
            }
        }
    }

    /// Executes one opcode. The groups are those of Python's `pickletools`.
    fn step(&mut self, opcode: u8) -> Result<(), Reason> {
        match opcode {
            // PROTO and FRAME have no effect on the objects.
            0x80 => self.take(1).map(drop),
            0x95 => self.take(8).map(drop),
            b'K' | b'M' | b'J' | 0x8a => self.integer(opcode),
            b'G' => self.float(),
            b'N' => {
                self.stack.push(OPAQUE);
                Ok(())
            }
            0x88 | 0x89 => {
                self.push(Object::Bool(opcode == 0x88));
                Ok(())
            }
            b'X' | 0x8c | b'T' | b'U' | b'B' | b'C' => self.string(opcode),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.pop_to_mark().map(drop),
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memory(opcode),
            b')' | b']' | 0x8f | b't' | b'l' | 0x85..=0x87 => self.sequence(opcode),
            b'}' | b'd' | b's' | b'u' => self.dict(opcode),
            b'a' | b'e' | 0x90 => self.append(opcode),
            b'c' | 0x93 => self.global(opcode),
            b'R' | 0x81 | b'b' | b'Q' => self.call(opcode),
            _ => Err(format!(
                "opcode {opcode:#04x} is not supported, because PyTorch does not write it"
            )),
        }
    }

    /// BININT1, BININT2, BININT, LONG1.
    fn integer(&mut self, opcode: u8) -> Result<(), Reason> {
        let length = match opcode {
            b'K' => 1,
            b'M' => 2,
            b'J' => 4,
            _ => usize::from(self.byte()?),
        };
        let bytes = self.take(length)?;
        if length > 8 {
            self.stack.push(OPAQUE);
            return Ok(());
        }
        // BININT and LONG1 are signed.
        let negative =
            matches!(opcode, b'J' | 0x8a) && bytes.last().is_some_and(|byte| *byte >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..length].copy_from_slice(bytes);
        self.push(Object::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    /// BINFLOAT.
    fn float(&mut self) -> Result<(), Reason> {
        let bits = self.take(8)?.iter();
        let bits = bits.fold(0, |bits, byte| bits << 8 | u64::from(*byte));
        self.push(Object::Float(f64::from_bits(bits)));
        Ok(())
    }

    /// BINUNICODE, SHORT_BINUNICODE; also BINSTRING, SHORT_BINSTRING, BINBYTES and
    /// SHORT_BINBYTES, which Python 2 uses for text.
    fn string(&mut self, opcode: u8) -> Result<(), Reason> {
        let length = match opcode {
            b'X' | b'T' | b'B' => self.u32()? as usize,
            _ => usize::from(self.byte()?),
        };
        let bytes = self.take(length)?;
        match str::from_utf8(bytes) {
            Ok(text) => self.push(Object::Text(text)),
            Err(_) => self.stack.push(OPAQUE),
        }
        Ok(())
    }

    /// BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET.
    fn memory(&mut self, opcode: u8) -> Result<(), Reason> {
        let key = match opcode {
            b'q' | b'h' => u32::from(self.byte()?),
            b'r' | b'j' => self.u32()?,
            _ => self.memo.len() as u32,
        };
        if matches!(opcode, b'h' | b'j') {
            let id = self
                .memo
                .get(&key)
                .ok_or_else(|| format!("it reads memo entry {key}, which was not written"))?;
            self.stack.push(*id);
        } else {
            let id = self.last()?;
            self.memo.insert(key, id);
        }
        Ok(())
    }

    /// EMPTY_TUPLE, EMPTY_LIST, EMPTY_SET, TUPLE, LIST, TUPLE1 to TUPLE3.
    fn sequence(&mut self, opcode: u8) -> Result<(), Reason> {
        let items = match opcode {
            b't' | b'l' => self.pop_to_mark()?,
            0x85..=0x87 => self.pop_many(usize::from(opcode - 0x84))?,
            _ => Vec::new(),
        };
        self.push(Object::Sequence(items));
        Ok(())
    }

    /// EMPTY_DICT, DICT, SETITEM, SETITEMS.
    fn dict(&mut self, opcode: u8) -> Result<(), Reason> {
        let items = match opcode {
            b'}' => Vec::new(),
            b's' => self.pop_many(2)?,
            _ => self.pop_to_mark()?,
        };
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("a dictionary has a key without a value".into());
        }
        let pairs = pairs.iter().map(|[key, value]| (*key, *value));
        if matches!(opcode, b'}' | b'd') {
            let pairs = pairs.collect();
            self.push(Object::Dict(pairs));
        } else {
            let dict = self.last()?;
            // Items of other objects are ignored: they hold no weights.
            if let Object::Dict(existing) = &mut self.objects[dict] {
                existing.extend(pairs);
            }
        }
        Ok(())
    }

    /// APPEND, APPENDS, ADDITEMS.
    fn append(&mut self, opcode: u8) -> Result<(), Reason> {
        let items = if opcode == b'a' {
            self.pop_many(1)?
        } else {
            self.pop_to_mark()?
        };
        let sequence = self.last()?;
        if let Object::Sequence(existing) = &mut self.objects[sequence] {
            existing.extend(items);
        }
        Ok(())
    }

    /// GLOBAL, STACK_GLOBAL.
    fn global(&mut self, opcode: u8) -> Result<(), Reason> {
        let (module, name) = if opcode == b'c' {
            (self.line()?, self.line()?)
        } else {
            let names = self.pop_many(2)?;
            match (&self.objects[names[0]], &self.objects[names[1]]) {
                (Object::Text(module), Object::Text(name)) => (*module, *name),
                _ => return Err("the name of a class is not a string".into()),
            }
        };
        self.push(Object::Global(module, name));
        Ok(())
    }

    /// REDUCE, NEWOBJ, BUILD, BINPERSID.
    fn call(&mut self, opcode: u8) -> Result<(), Reason> {
        let argument = self.pop()?;
        let object = match opcode {
            b'Q' => Object::Persistent(argument),
            // Sets the state of an existing object, which is not needed.
            b'b' => return self.last().map(drop),
            _ => {
                let callable = self.pop()?;
                match self.objects[callable] {
                    Object::Global("collections", "OrderedDict" | "defaultdict") => {
                        Object::Dict(self.pairs(argument))
                    }
                    _ => Object::Call(callable, argument),
                }
            }
        };
        self.push(object);
        Ok(())
    }

    /// The pairs in `([[key, value], ...],)`, the arguments of an ordered
    /// dictionary in Python 2. Python 3 sets the items one by one.
    fn pairs(&self, arguments: Id) -> Vec<(Id, Id)> {
        let items = |id: Id| match &self.objects[id] {
            Object::Sequence(items) => items.as_slice(),
            _ => &[],
        };
        let list = items(arguments)
            .first()
            .map_or(&[][..], |list| items(*list));
        let pair = |item: &Id| match *items(*item) {
            [key, value] => Some((key, value)),
            _ => None,
        };
        list.iter().filter_map(pair).collect()
    }

    fn push(&mut self, object: Object<'a>) {
        self.stack.push(self.objects.len());
        self.objects.push(object);
    }

    fn last(&self) -> Result<Id, Reason> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let above = self.stack.get(floor..).unwrap_or_default();
        above
            .last()
            .copied()
            .ok_or_else(|| "it pops from an empty stack".into())
    }

    fn pop(&mut self) -> Result<Id, Reason> {
        let id = self.last()?;
        self.stack.pop();
        Ok(id)
    }

    /// Pops `count` objects; the top of the stack comes last.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Reason> {
        let mut items = (0..count)
            .map(|_| self.pop())
            .collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        Ok(items)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Reason> {
        let mark = self
            .marks
            .pop()
            .ok_or("it pops to a mark that was not set")?;
        Ok(self.stack.split_off(mark))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Reason> {
        let rest = &self.stream[self.at..];
        let Some(bytes) = rest.get(..length) else {
            return Err(format!(
                "it is truncated: {} bytes are missing",
                length - rest.len()
            ));
        };
        self.at += length;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, Reason> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Result<u32, Reason> {
        let bytes = self.take(4)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn line(&mut self) -> Result<&'a str, Reason> {
        let rest = &self.stream[self.at..];
        let length = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or("a line has no end")?;
        self.at += length + 1;
        str::from_utf8(&rest[..length]).map_err(|_| "a name is not UTF-8".into())
    }
}
