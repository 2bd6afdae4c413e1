import Foundation

/// Runs a body with a directory of its own that is gone afterwards.
///
/// - Parameter body: gets the directory's absolute path, which is short enough for sockets.
/// - Returns: what the body returns.
/// - Throws: what the body throws, or the error of making the directory.
public func withTemporaryDirectory<Result>(
    _ body: (String) async throws -> Result
) async throws -> Result {
    let path = try makeTemporaryDirectory()
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try await body(path)
}

/// Runs a body with a directory of its own that is gone afterwards.
///
/// - Parameter body: gets the directory's absolute path, which is short enough for sockets.
/// - Returns: what the body returns.
/// - Throws: what the body throws, or the error of making the directory.
public func withTemporaryDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
    let path = try makeTemporaryDirectory()
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
}

private func makeTemporaryDirectory() throws -> String {
    let name = "ram-" + String(UInt32.random(in: .min ... .max), radix: 36)
    let url = FileManager.default.temporaryDirectory.appendingPathComponent(name)
    try FileManager.default.createDirectory(
        at: url,
        withIntermediateDirectories: true,
        attributes: [.posixPermissions: 0o755]
    )
    return url.path
}
