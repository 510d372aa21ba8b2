//! What a person sees on a terminal. The terminal comes from `script` (util-linux).
