import RegistryAccess

extension CommandContext {
    /// Says what is wrong with a document, a line for each fault.
    ///
    /// - Parameters:
    ///   - faults: the faults.
    ///   - file: the document.
    func list(_ faults: [InvalidPolicy], in file: String) {
        for fault in faults {
            errors.line(TerminalText.printable("\(file):\(fault.line):\(fault.column): error: \(fault.message)"))
        }
    }
}

extension InvalidPolicy {
    /// This fault, which is the first that was found in a document, with all others.
    ///
    /// - Parameter bytes: the document.
    /// - Returns: the faults in the order in which they stand.
    func all(in bytes: [UInt8]) -> [InvalidPolicy] {
        let all = PolicyFaults.all(in: bytes)
        return all.isEmpty ? [self] : all
    }
}

extension [InvalidPolicy] {
    /// For example `2 errors`.
    var countInWords: String { "\(count) \(count == 1 ? "error" : "errors")" }
}
