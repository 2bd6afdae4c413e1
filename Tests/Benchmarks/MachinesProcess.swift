import Foundation
import Glibc
import OrganizationClient
import TestSupport

/// Machines in a process of their own, so that neither their memory nor their files are those of the measurement.
struct MachinesProcess: Sendable {
    /// A machine as the server knows it.
    struct Device: Sendable {
        let id: String
        let secret: String
    }

    /// What the process is told.
    struct Arguments: Sendable {
        let port: Int
        let certificate: String?
        let devices: [Device]
        /// What the sort of machines needs besides.
        let more: [String]

        /// Reads the arguments behind the name of the sort of machines.
        ///
        /// - Parameter arguments: port, certificate or `-`, the file with the machines, and more.
        /// - Throws: ``UnexpectedEnd``.
        init(_ arguments: [String]) throws {
            guard arguments.count >= 3, let port = Int(arguments[0]) else {
                throw UnexpectedEnd(description: "not for use by hand")
            }
            self.port = port
            certificate = arguments[1] == "-" ? nil : arguments[1]
            devices = try String(contentsOfFile: arguments[2], encoding: .utf8).split(separator: "\n").map { line in
                let parts = line.split(separator: " ").map(String.init)
                return Device(id: parts.first ?? "", secret: parts.last ?? "")
            }
            more = Array(arguments.dropFirst(3))
        }
    }

    private let program: RunningProgram

    /// Starts machines.
    ///
    /// - Parameters:
    ///   - sort: which.
    ///   - server: their server.
    ///   - devices: as which they are known there.
    ///   - directory: an existing directory.
    ///   - more: what they need besides.
    /// - Throws: why they do not start.
    init(
        _ sort: String,
        _ server: OrganizationUnderLoad,
        _ devices: [OrganizationClient.Device],
        in directory: String,
        _ more: [String] = []
    ) throws {
        let file = "\(directory)/machines"
        let lines = devices.map { "\($0.id) \($0.secret.text)\n" }
        try lines.joined().write(toFile: file, atomically: true, encoding: .utf8)
        program = try RunningProgram(
            [CommandLine.arguments[0], sort, "\(server.port)", server.certificate ?? "-", file] + more
        )
    }

    /// What it has said so far.
    var lines: [String] { program.output.split(separator: "\n").map(String.init) }
    /// Whether it has ended.
    var hasEnded: Bool { program.status != nil }

    /// The numbers in the line that begins with a word.
    func numbers(of word: String) -> [Double] {
        lines.first { $0.hasPrefix("\(word) ") }?.split(separator: " ").dropFirst().compactMap { Double($0) } ?? []
    }

    /// Insists that it has not failed.
    ///
    /// - Throws: ``UnexpectedEnd``.
    func check() throws {
        if let status = program.status, status != 0 {
            throw UnexpectedEnd(description: "the machines ended with \(status)\n\(program.output)\(program.errors)")
        }
    }

    /// Ends it, if it has not ended.
    ///
    /// - Throws: ``UnexpectedEnd``.
    func stop() async throws { try await program.stop() }

    /// Waits until it has ended by itself.
    ///
    /// - Parameter limit: how long.
    /// - Throws: ``UnexpectedEnd`` if it has failed.
    func end(within limit: Duration) async throws {
        guard try await program.status(within: limit) != nil else {
            try await stop()
            throw UnexpectedEnd(description: "the machines do not come to an end\n\(program.output)")
        }
        try check()
    }

    /// Says a line to the process that has started this one.
    static func say(_ line: String) { FileHandle.standardOutput.write(Data("\(line)\n".utf8)) }
}
