//! Which traits a type has.

/// Whether a type has a trait, known when it is compiled: an impl of the type itself hides that of a trait.
macro_rules! has {
    ($type:ty: $trait:ident) => {{
        struct Probe<T>(std::marker::PhantomData<T>);
        #[allow(dead_code)] // hidden, where the type has it
        trait Without {
            const HAS: bool = false;
        }
        impl<T> Without for Probe<T> {}
        #[allow(dead_code)] // not there, where the type has it not
        impl<T: $trait> Probe<T> {
            const HAS: bool = true;
        }
        Probe::<$type>::HAS
    }};
}
