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

extension [InvalidPolicy] {
    /// For example `2 errors`.
    var countInWords: String { "\(count) \(count == 1 ? "error" : "errors")" }
}
