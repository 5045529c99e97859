//! Says the declarations in C, and lets a C compiler compare them with the headers.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use quote::ToTokens;
use syn::{
    Expr, FnArg, ForeignItemFn, GenericArgument, ItemConst, ItemStruct, Lit, PathArguments, ReturnType, Type,
    TypeBareFn,
};

use super::declarations::Declarations;

/// Prints what differs, and answers how much does.
const PROLOGUE: &str = r#"#include <bw/bw.h>
#include <stdio.h>
#include <string.h>
static int differences;
static void check(int same, const char *what) {
  if (same) return;
  puts(what);
  differences++;
}
#define CHECK(condition, what) check((condition) != 0, what)
#define SAME(a, b) __builtin_types_compatible_p(__typeof__(a), __typeof__(b))
"#;

/// A program that ends with 0 where all declarations are right.
pub fn of(declarations: &Declarations) -> String {
    let mut types = String::new();
    let mut checks = String::new();
    for item in &declarations.structs {
        add_struct(item, &mut types, &mut checks);
    }
    for function in &declarations.functions {
        add_function(function, &mut checks);
    }
    for constant in &declarations.constants {
        add_constant(constant, &mut types, &mut checks);
    }
    format!("{PROLOGUE}{types}int main(void) {{\n{checks}  return differences != 0;\n}}\n")
}

/// Compiles and runs it with the compiler that CC names.
pub fn run(program: &str, directory: &Path, include: &str) {
    let (source, binary) = (directory.join("declarations.c"), directory.join("declarations"));
    fs::write(&source, program).expect("the source is written");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut compile = Command::new(compiler);
    compile.args(["-std=gnu11", "-w", "-I", include, "-o"]).arg(&binary).arg(&source);
    let compiled = compile.output().expect("a C compiler runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let compared = Command::new(&binary).output().expect("the program runs");
    assert!(compared.status.success(), "differ from the headers:\n{}", String::from_utf8_lossy(&compared.stdout));
}

/// Size, alignment, and of each field name, offset and type.
fn add_struct(item: &ItemStruct, types: &mut String, checks: &mut String) {
    let name = item.ident.to_string();
    writeln!(types, "struct rust_{name} {{").unwrap();
    writeln!(checks, "  CHECK(sizeof(struct rust_{name}) == sizeof({name}), \"size of {name}\");").unwrap();
    writeln!(checks, "  CHECK(_Alignof(struct rust_{name}) == _Alignof({name}), \"alignment of {name}\");").unwrap();
    for field in &item.fields {
        let member = field.ident.as_ref().expect("fields have names").to_string();
        writeln!(types, "  {};", c_type(&field.ty, &member)).unwrap();
        let (ours, theirs) = (format!("struct rust_{name}"), &name);
        writeln!(
            checks,
            "  CHECK(offsetof({ours}, {member}) == offsetof({theirs}, {member}), \"offset of {name}.{member}\");\n  \
             CHECK(SAME((({ours} *)0)->{member}, (({theirs} *)0)->{member}), \"type of {name}.{member}\");"
        )
        .unwrap();
    }
    writeln!(types, "}};").unwrap();
}

fn add_function(function: &ForeignItemFn, checks: &mut String) {
    let name = function.sig.ident.to_string();
    assert!(function.sig.variadic.is_none());
    let parameters = function.sig.inputs.iter().map(|input| match input {
        FnArg::Typed(parameter) => &*parameter.ty,
        FnArg::Receiver(_) => panic!("{name} has a receiver"),
    });
    let declared = function_type(&function.sig.output, "", parameters);
    writeln!(checks, "  CHECK(SAME({name}, {declared}), \"signature of {name}\");").unwrap();
}

/// A number is the same expression in both languages; a text and a struct are compared as bytes.
fn add_constant(constant: &ItemConst, types: &mut String, checks: &mut String) {
    let name = constant.ident.to_string();
    if let Some(bytes) = bytes_of_init(&name) {
        let of_type = c_type(&constant.ty, "");
        writeln!(types, "static const {of_type} c_{name} = {name};").unwrap();
        writeln!(types, "static const unsigned char rust_{name}[] = {{{bytes}}};").unwrap();
        writeln!(
            checks,
            "  CHECK(sizeof rust_{name} == sizeof c_{name} && !memcmp(rust_{name}, &c_{name}, sizeof c_{name}), \
             \"value of {name}\");"
        )
        .unwrap();
    } else if let Some(text) = text_of(&constant.expr) {
        writeln!(checks, "  CHECK(!strcmp({name}, {text:?}), \"value of {name}\");").unwrap();
    } else {
        let value = constant.expr.to_token_stream();
        writeln!(checks, "  CHECK({name} == ({value}), \"value of {name}\");").unwrap();
    }
}

fn text_of(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::CStr(text) => Some(text.value().into_string().expect("plain text")),
            _ => None,
        },
        _ => None,
    }
}

/// The bytes of an `_INIT` constant, as Rust has it in memory.
fn bytes_of_init(name: &str) -> Option<String> {
    match name {
        "BW_SINK_INIT" => Some(bytes(&bw_sys::BW_SINK_INIT)),
        "BW_OPTIONS_INIT" => Some(bytes(&bw_sys::BW_OPTIONS_INIT)),
        "BW_STATS_INIT" => Some(bytes(&bw_sys::BW_STATS_INIT)),
        "BW_BATCH_SINK_INIT" => Some(bytes(&bw_sys::BW_BATCH_SINK_INIT)),
        "BW_BATCH_OPTIONS_INIT" => Some(bytes(&bw_sys::BW_BATCH_OPTIONS_INIT)),
        "BW_BATCH_STATS_INIT" => Some(bytes(&bw_sys::BW_BATCH_STATS_INIT)),
        _ => None,
    }
}

fn bytes<T>(value: &T) -> String {
    let start: *const u8 = std::ptr::from_ref(value).cast();
    // SAFETY: the structs of the library have no padding, so that all their bytes are initialized.
    let bytes = unsafe { std::slice::from_raw_parts(start, size_of::<T>()) };
    bytes.iter().map(|byte| format!("{byte},")).collect()
}

/// A declaration of `name` in C; with an empty name, the type alone.
fn c_type(of: &Type, name: &str) -> String {
    match of {
        Type::Ptr(pointer) => {
            let to = c_type(&pointer.elem, "");
            let constant = if pointer.const_token.is_some() { " const" } else { "" };
            format!("{to}{constant} *{name}")
        }
        Type::Path(path) => {
            let last = path.path.segments.last().expect("a path has segments");
            match (last.ident.to_string().as_str(), &last.arguments) {
                ("Option", PathArguments::AngleBracketed(inner)) => match inner.args.first() {
                    Some(GenericArgument::Type(Type::BareFn(function))) => callback_type(function, name),
                    _ => panic!("an Option of something else than a function"),
                },
                (ident, _) => format!("{} {name}", plain_type(ident)),
            }
        }
        other => panic!("no type of C: {}", other.to_token_stream()),
    }
}

fn plain_type(ident: &str) -> String {
    let name = match ident {
        "c_char" => "char",
        "c_int" => "int",
        "c_uint" => "unsigned",
        "c_void" => "void",
        "i32" => "int32_t",
        "i64" => "int64_t",
        "u32" => "uint32_t",
        "u64" => "uint64_t",
        "usize" => "size_t",
        "iovec" => "struct iovec",
        ours if ours.starts_with("bw_") && ours.ends_with("_t") => ours,
        other => panic!("no type of C: {other}"),
    };
    name.to_string()
}

fn callback_type(function: &TypeBareFn, name: &str) -> String {
    let abi = function.abi.as_ref().and_then(|abi| abi.name.as_ref()).map(|name| name.value());
    assert_eq!(abi.as_deref(), Some("C"), "a callback has the ABI of C");
    assert!(function.unsafety.is_some(), "a callback is unsafe to call");
    function_type(&function.output, &format!("(*{name})"), function.inputs.iter().map(|input| &input.ty))
}

fn function_type<'a>(output: &ReturnType, name: &str, parameters: impl Iterator<Item = &'a Type>) -> String {
    let mut list: Vec<String> = parameters.map(|parameter| c_type(parameter, "")).collect();
    if list.is_empty() {
        list.push("void".into());
    }
    let declared = format!("{name}({})", list.join(", "));
    match output {
        ReturnType::Default => format!("void {declared}"),
        ReturnType::Type(_, of) => c_type(of, &declared),
    }
}
