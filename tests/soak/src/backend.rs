//! A server behind the proxy. It says back what it was sent, and who asked for what.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::{Duration, sleep};

/// The time between two events of `/events`.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until it is killed.
pub(crate) async fn run(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    println!("ready");
    loop {
        let (stream, _) = listener.accept().await?;
        spawn_local(async move {
            // A connection that breaks is the proxy's to tell about.
            let _ = greet(stream).await;
        });
    }
}

/// Speaks what the other side begins with.
async fn greet(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut begin = [0; 4];
    let read = stream.peek(&mut begin).await?;
    if begin[..read] == *b"PRI " { serve_http2(stream).await } else { serve(stream).await }
}

/// Calls of gRPC, which say back what they are told, and how much it was.
async fn serve_http2(stream: TcpStream) -> Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        spawn_local(async move {
            // As above.
            let _ = echo(request, respond).await;
        });
    }
    Ok(())
}

async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<()> {
    let head = Response::builder().header("content-type", "application/grpc").body(())?;
    let mut out = respond.send_response(head, false)?;
    let mut body = request.into_body();
    let mut bytes = 0;
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        bytes += piece.len();
        out.send_data(piece, false)?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-bytes", bytes.into());
    Ok(out.send_trailers(trailers)?)
}

async fn serve(stream: TcpStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let target = line.split(' ').nth(1).context("a request line")?.to_owned();
        let (mut length, mut chunked, mut key) = (0_usize, false, None);
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse()?,
                "transfer-encoding" => chunked = true,
                "sec-websocket-key" => key = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        let body = if chunked { read_chunks(&mut stream).await? } else { read(&mut stream, length).await? };
        if target.starts_with("/events") {
            return events(stream.get_mut()).await;
        }
        if key.is_some() {
            return tunnel(stream).await;
        }
        let text = format!("{target} {}", body.len());
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", text.len());
        stream.get_mut().write_all((head + &text).as_bytes()).await?;
    }
}

async fn read(stream: &mut BufReader<TcpStream>, length: usize) -> Result<Vec<u8>> {
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

async fn read_chunks(stream: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let size = usize::from_str_radix(line.trim_end(), 16)?;
        body.extend(read(stream, size).await?);
        stream.read_line(&mut line).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// Server-sent events without an end.
async fn events(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n").await?;
    for number in 0_u64.. {
        stream.write_all(format!("data: {number}\n\n").as_bytes()).await?;
        sleep(PAUSE).await;
    }
    Ok(())
}

/// A tunnel that says back what comes. What is in it is nobody's business but the two ends'.
async fn tunnel(mut stream: BufReader<TcpStream>) -> Result<()> {
    // The answer to the one key that the clients of this soak send (RFC 6455, section 1.3).
    let head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.get_mut().write_all(head).await?;
    loop {
        let bytes = stream.fill_buf().await?.to_vec();
        if bytes.is_empty() {
            return Ok(());
        }
        stream.consume(bytes.len());
        stream.get_mut().write_all(&bytes).await?;
    }
}
