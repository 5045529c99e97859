//! What the sources of this crate declare.

use std::collections::BTreeSet;
use std::path::Path;

use syn::{Fields, ForeignItem, ForeignItemFn, Item, ItemConst, ItemStruct, Visibility};

pub struct Declarations {
    pub constants: Vec<ItemConst>,
    /// With fields that anybody may use.
    pub structs: Vec<ItemStruct>,
    /// Known only behind a pointer.
    pub opaque: Vec<ItemStruct>,
    pub functions: Vec<ForeignItemFn>,
}

impl Declarations {
    /// Reads all sources but lib.rs, which has only modules.
    pub fn read() -> Declarations {
        let mut all = Declarations { constants: vec![], structs: vec![], opaque: vec![], functions: vec![] };
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for name in ["batch.rs", "errors.rs", "version.rs", "writer.rs"] {
            let file = syn::parse_file(&super::read(sources.join(name))).expect(name);
            file.items.into_iter().for_each(|item| all.add(item));
        }
        all
    }

    /// Anything that is neither private nor understood ends the test.
    fn add(&mut self, item: Item) {
        match item {
            Item::Const(constant) if public(&constant.vis) => self.constants.push(constant),
            Item::Struct(item) => self.add_struct(item),
            Item::ForeignMod(block) => {
                assert_eq!(block.abi.name.expect("an ABI is named").value(), "C");
                block.items.into_iter().for_each(|item| match item {
                    ForeignItem::Fn(function) => self.functions.push(function),
                    _ => panic!("something else than a function is declared"),
                });
            }
            Item::Const(_) | Item::Use(_) => {}
            _ => panic!("an item that is not verified"),
        }
    }

    /// With `repr(C)` Rust lays a struct out as C does, so that C can tell the layout.
    fn add_struct(&mut self, item: ItemStruct) {
        let repr = item.attrs.iter().find(|attribute| attribute.path().is_ident("repr"));
        let repr = repr.unwrap_or_else(|| panic!("{} has no repr", item.ident));
        assert!(repr.parse_args::<syn::Ident>().is_ok_and(|kind| kind == "C"), "{} is not repr(C)", item.ident);
        let Fields::Named(fields) = &item.fields else { panic!("{} has no named fields", item.ident) };
        match fields.named.iter().filter(|field| public(&field.vis)).count() {
            0 => self.opaque.push(item),
            n => {
                assert_eq!(n, fields.named.len(), "{} has private fields", item.ident);
                self.structs.push(item);
            }
        }
    }

    pub fn constant_names(&self) -> BTreeSet<String> {
        self.constants.iter().map(|constant| constant.ident.to_string()).collect()
    }

    pub fn type_names(&self) -> BTreeSet<String> {
        self.structs.iter().chain(&self.opaque).map(|item| item.ident.to_string()).collect()
    }

    pub fn function_names(&self) -> BTreeSet<String> {
        self.functions.iter().map(|function| function.sig.ident.to_string()).collect()
    }
}

fn public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}
