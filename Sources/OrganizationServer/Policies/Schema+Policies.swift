extension Schema {
    /// Policies, signed documents, devices, reports.
    static let policies: [(String, String)] = []
}
