//! Reads a pickle without running it. Python's pickle is a program for a
//! stack machine that may call anything; here a call is only written down,
//! and what comes out is a graph of plain objects to look at.
//!
//! The graph lives in one vector and refers to itself by index, so that
//! neither shared nor nested objects cost more than the bytes that name them,
//! and nothing recurses.

use std::collections::HashMap;

/// A training checkpoint of a thousand layers takes a tenth of either.
const LONGEST: usize = 16 << 20;
const MOST_OBJECTS: usize = 1 << 19;

/// An object's index in its [`Pickle`].
pub(super) type Id = usize;

/// What is wrong with a pickle.
pub(super) type Fault = String;

/// What the stack machine made, as far as state dicts are concerned.
pub(super) enum Object<'a> {
    /// None, a truth value, a fraction, bytes: nothing that is asked for here.
    Opaque,
    Int(i64),
    Text(&'a str),
    /// A class or a function, by module and name.
    Global(&'a str, &'a str),
    /// A tuple, a list or a set.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// What a callable would return for these arguments.
    Call(Id, Id),
    /// What is stored outside of the pickle, under this identity.
    Persistent(Id),
}

/// The objects of one pickle.
pub(super) struct Pickle<'a> {
    objects: Vec<Object<'a>>,
    /// The object that was pickled.
    pub(super) top: Id,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the beginning of `stream`; also what follows it.
    pub(super) fn read(stream: &'a [u8]) -> Result<(Self, &'a [u8]), Fault> {
        let mut machine = Machine {
            stream: &stream[..stream.len().min(LONGEST)],
            at: 0,
            objects: vec![Object::Opaque],
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        let top = machine
            .run()
            .map_err(|fault| format!("{fault} (byte {} of its pickle)", machine.at))?;
        let objects = machine.objects;
        Ok((Self { objects, top }, &stream[machine.at..]))
    }

    /// All objects, in the order they were made.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Object<'a>> {
        self.objects.iter()
    }

    pub(super) fn get(&self, id: Id) -> &Object<'a> {
        &self.objects[id]
    }
}

/// The index of the one opaque object there is.
pub(super) const OPAQUE: Id = 0;

struct Machine<'a> {
    stream: &'a [u8],
    at: usize,
    objects: Vec<Object<'a>>,
    stack: Vec<Id>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, Fault> {
        loop {
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
            if self.objects.len() > MOST_OBJECTS {
                return Err("it makes more objects than any network has".into());
            }
        }
    }

    /// Carries out one opcode, in the groups of `pickletools`' table.
    fn step(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            // PROTO, FRAME: how the stream is laid out.
            0x80 => self.take(1).map(drop),
            0x95 => self.take(8).map(drop),
            b'K' | b'M' | b'J' | 0x8a => self.integer(opcode),
            b'G' => self.opaque(8),
            b'N' | 0x88 | 0x89 => self.opaque(0),
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
            _ => Err(format!("opcode {opcode:#04x} is none that PyTorch writes")),
        }
    }

    /// BININT1, BININT2, BININT, LONG1.
    fn integer(&mut self, opcode: u8) -> Result<(), Fault> {
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
        // The two longer kinds are signed.
        let negative =
            matches!(opcode, b'J' | 0x8a) && bytes.last().is_some_and(|byte| *byte >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..length].copy_from_slice(bytes);
        self.push(Object::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    /// BINUNICODE, SHORT_BINUNICODE; BINSTRING, SHORT_BINSTRING, BINBYTES and
    /// SHORT_BINBYTES, which hold text where Python 2 wrote them.
    fn string(&mut self, opcode: u8) -> Result<(), Fault> {
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
    fn memory(&mut self, opcode: u8) -> Result<(), Fault> {
        let key = match opcode {
            b'q' | b'h' => u32::from(self.byte()?),
            b'r' | b'j' => self.u32()?,
            _ => self.memo.len() as u32,
        };
        if matches!(opcode, b'h' | b'j') {
            let id = self
                .memo
                .get(&key)
                .ok_or_else(|| format!("it recalls object {key}, which it never kept"))?;
            self.stack.push(*id);
        } else {
            let id = self.last()?;
            self.memo.insert(key, id);
        }
        Ok(())
    }

    /// EMPTY_TUPLE, EMPTY_LIST, EMPTY_SET, TUPLE, LIST, TUPLE1 to TUPLE3.
    fn sequence(&mut self, opcode: u8) -> Result<(), Fault> {
        let items = match opcode {
            b't' | b'l' => self.pop_to_mark()?,
            0x85..=0x87 => self.pop_many(usize::from(opcode - 0x84))?,
            _ => Vec::new(),
        };
        self.push(Object::Sequence(items));
        Ok(())
    }

    /// EMPTY_DICT, DICT, SETITEM, SETITEMS.
    fn dict(&mut self, opcode: u8) -> Result<(), Fault> {
        let items = match opcode {
            b'}' => Vec::new(),
            b's' => self.pop_many(2)?,
            _ => self.pop_to_mark()?,
        };
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("a key without a value".into());
        }
        let pairs = pairs.iter().map(|[key, value]| (*key, *value));
        if matches!(opcode, b'}' | b'd') {
            let pairs = pairs.collect();
            self.push(Object::Dict(pairs));
        } else {
            let dict = self.last()?;
            // Instances of other classes take items too; they hold no weights.
            if let Object::Dict(known) = &mut self.objects[dict] {
                known.extend(pairs);
            }
        }
        Ok(())
    }

    /// APPEND, APPENDS, ADDITEMS.
    fn append(&mut self, opcode: u8) -> Result<(), Fault> {
        let items = if opcode == b'a' {
            self.pop_many(1)?
        } else {
            self.pop_to_mark()?
        };
        let sequence = self.last()?;
        if let Object::Sequence(known) = &mut self.objects[sequence] {
            known.extend(items);
        }
        Ok(())
    }

    /// GLOBAL, STACK_GLOBAL.
    fn global(&mut self, opcode: u8) -> Result<(), Fault> {
        let (module, name) = if opcode == b'c' {
            (self.line()?, self.line()?)
        } else {
            let names = self.pop_many(2)?;
            match (&self.objects[names[0]], &self.objects[names[1]]) {
                (Object::Text(module), Object::Text(name)) => (*module, *name),
                _ => return Err("a class whose name is no text".into()),
            }
        };
        self.push(Object::Global(module, name));
        Ok(())
    }

    /// REDUCE, NEWOBJ, BUILD, BINPERSID.
    fn call(&mut self, opcode: u8) -> Result<(), Fault> {
        let argument = self.pop()?;
        let object = match opcode {
            b'Q' => Object::Persistent(argument),
            // The state of an object that is there already: kept out of sight.
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

    /// The pairs in `([[key, value], ...],)`, an ordered dictionary's arguments
    /// in Python 2; Python 3 sets its items one by one.
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

    /// Skips the `length` bytes of an object that is not looked at.
    fn opaque(&mut self, length: usize) -> Result<(), Fault> {
        self.take(length)?;
        self.stack.push(OPAQUE);
        Ok(())
    }

    fn last(&self) -> Result<Id, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let above = self.stack.get(floor..).unwrap_or_default();
        above
            .last()
            .copied()
            .ok_or_else(|| "it takes from an empty stack".into())
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        let id = self.last()?;
        self.stack.pop();
        Ok(id)
    }

    /// The `count` objects on top, the lowest first.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Fault> {
        let mut items = (0..count)
            .map(|_| self.pop())
            .collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        Ok(items)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self
            .marks
            .pop()
            .ok_or("it goes back to a mark it never set")?;
        Ok(self.stack.split_off(mark))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let rest = &self.stream[self.at..];
        let Some(bytes) = rest.get(..length) else {
            return Err(format!("it ends {} bytes too early", length - rest.len()));
        };
        self.at += length;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        let bytes = self.take(4)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = &self.stream[self.at..];
        let length = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or("a line without an end")?;
        self.at += length + 1;
        str::from_utf8(&rest[..length]).map_err(|_| "a name that is not UTF-8".into())
    }
}
