// The beginning of a tunnel: whoever reads a part of it comes to the same end as who reads the whole, and what is missing
// is never less than what makes the next look worth it.

func fuzzHello(_ bytes: [UInt8]) {
    let whole = ClientHello(bytes)
    if case .hello(let name?) = whole { precondition(name.utf8.allSatisfy { (0x21...0x7E).contains($0) }) }
    if case .incomplete(let needed) = whole { precondition(needed > bytes.count && needed <= ClientHello.longest) }
    var read = 0
    while read <= bytes.count {
        guard case .incomplete(let needed) = ClientHello(Array(bytes.prefix(read))) else {
            // What is decided on a part is decided on the whole.
            precondition(ClientHello(Array(bytes.prefix(read))) == whole)
            return
        }
        precondition(needed > read)
        read = needed
    }
    precondition(ClientHello(bytes) == whole)
}
