//! From the bytes of a photo to the pixels a network reads: sniff, decode,
//! orient, resize, crop.
