//! Small files of common formats, whole and valid, for what is sent as a picture, a document or an archive.

/// A picture of two by two pixels.
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x02\x08\x02\0\0\0\xfd\xd4\x9as\0\0\0\x12IDATx\x9cc\xf8\xcf\xc0\xc0\0\xc2\x0c\xff\x81\0\0\x1f\xee\x05\xfb\x0b\xd9h\x8b\0\0\0\0IEND\xaeB`\x82";
/// An archive with one compressed file, as office documents are.
pub const ZIP: &[u8] = b"PK\x03\x04\x14\0\0\0\x08\0\0\0!\\\xc5\xab\xe3\x89D\0\0\0\x8e\0\0\0\x11\0\0\0word/document.xml\xb3\xb1\xaf\xc8\xcdQ(K-*\xce\xcc\xcf\xb3U7\xd43P\xb7\xb7\xb3)\xb7J\xc9O.\xcdM\xcd+\x01\xb1\x0b\xec\xfc\xd5\x9d\x8a2S\xf3\x14\xd4\x14\x82\xf3\xf3\x8a\x15tu\x15JR\x13m\xf4AR\x14\xcb\xeb#Y\x06\0PK\x01\x02\x14\x03\x14\0\0\0\x08\0\0\0!\\\xc5\xab\xe3\x89D\0\0\0\x8e\0\0\0\x11\0\0\0\0\0\0\0\0\0\0\0\x80\x01\0\0\0\0word/document.xmlPK\x05\x06\0\0\0\0\x01\0\x01\0?\0\0\0s\0\0\0\0\0";
/// A document of one page, with an address that has parameters and an apostrophe.
pub const PDF: &[u8] = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 72 72] /Annots [<< /A << /S /URI /URI (https://example.com/?a=1&b=it's) >> >>] >>\nendobj\nstream\nx\x9cs\nQ\xd0(IM\xd4T\x08\xc9Rp\rq\"\x9a\x07\0\xb5\x9f\x0fa\nendstream\ntrailer\n<< /Root 1 0 R /Size 4 >>\n%%EOF\n";
/// A compressed text.
pub const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03+\xc9HU(I\xad(Q\xc8OSHTH\xcb\xccI\xb5V\xc8,Q/\x062\xf3R\xb9J(\x90\x05\0\xcc*\x80<Z\0\0\0";
