//! Images that are sent as pixels and as floats, through the core, which all
//! protocols share.

use std::sync::Arc;

use bytes::Bytes;
use model::Outputs;
use resnet_server::core::admission::ByteShare;
use resnet_server::core::error::Error;
use resnet_server::core::image::{EncodedImage, Encoding, ImageInput};
use resnet_server::core::keys::Caller;
use resnet_server::core::request::{self, Deadline, Outcome};
use resnet_server::core::tensor::{
    Element, FloatFormat, FloatImage, FloatRange, Layout, PixelImage,
};

use crate::support::client::grey;
use crate::support::network::SIDE;
use crate::support::server::{Server, limits, server, server_with, wait_until};

const VALUES: usize = (SIDE * SIDE * 3) as usize;

fn share(server: &Server) -> Arc<ByteShare> {
    Arc::new(server.serving.admission().bytes())
}

fn file(server: &Server, value: u8) -> ImageInput {
    let image = EncodedImage::new(grey(value).into(), Encoding::Raw, share(server));
    ImageInput::Encoded(image)
}

fn pixels(server: &Server, value: u8) -> ImageInput {
    let rgb = Bytes::from(vec![value; VALUES]);
    ImageInput::Pixels(PixelImage::new(
        [SIDE; 2],
        Layout::ChannelsLast,
        rgb,
        share(server),
    ))
}

fn planes(server: &Server, value: f32) -> ImageInput {
    let values: Vec<u8> = [value; VALUES]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let format = FloatFormat {
        element: Element::F32,
        layout: Layout::ChannelsFirst,
        range: FloatRange::Normalised,
    };
    let image = FloatImage::new([SIDE; 2], format, values.into(), share(server));
    ImageInput::Floats(image)
}

async fn run(server: &Server, images: Vec<ImageInput>) -> Result<Vec<Outcome>, Error> {
    let serving = &server.serving;
    let deadline = Deadline::after(serving.limits().request_timeout);
    let instance = request::find(serving, None, None, deadline).await?;
    let from = (&**serving, &Caller::default());
    request::run(from, &instance, images, Outputs::default(), deadline.into()).await
}

fn class(outcome: &Outcome) -> usize {
    let logits = &outcome.as_ref().unwrap().logits;
    logits.iter().position(|&logit| logit > 0.0).unwrap()
}

#[tokio::test]
async fn files_pixels_and_planes_run_together_in_one_forward_pass_per_kind() {
    let server = server().await;
    let first = server.occupy_device().await;
    let images = vec![
        pixels(&server, 2),
        planes(&server, 3.0),
        file(&server, 4),
        planes(&server, 5.0),
    ];
    let (outcomes, ()) = tokio::join!(run(&server, images), async {
        server.wait_for_metric("resnet_queue_depth", 4.0).await;
        server.network().gate.open();
    });
    let classes: Vec<usize> = outcomes.unwrap().iter().map(class).collect();
    assert_eq!(classes, [2, 3, 4, 5]);
    assert_eq!(first.await.unwrap().class(), 1);
    assert_eq!(server.batches(), [vec![1], vec![2, 4], vec![3, 5]]);
    server.wait_for_metric("resnet_images_in_flight", 0.0).await;
}

#[tokio::test]
async fn planes_that_the_network_cannot_use_fail_alone_and_by_the_clients_fault() {
    let server = server().await;
    let first = server.occupy_device().await;
    let images = vec![
        planes(&server, 2.0),
        planes(&server, 1e10),
        planes(&server, f32::NAN),
    ];
    let (outcomes, ()) = tokio::join!(run(&server, images), async {
        server.wait_for_metric("resnet_queue_depth", 2.0).await;
        server.network().gate.open();
    });
    let outcomes = outcomes.unwrap();
    assert_eq!(class(&outcomes[0]), 2);
    for wrong in &outcomes[1..] {
        assert!(matches!(wrong, Err(Error::InputValues(_))), "{wrong:?}");
    }
    first.await.unwrap();
}

#[tokio::test]
async fn the_memory_of_planes_is_counted_until_they_have_run() {
    let mut limits = limits();
    // room for the planes of two images
    (limits.max_body, limits.body_memory) = (1024, 2 * VALUES * 4);
    let server = server_with(limits, |_| Ok(())).await;
    server.network().gate.close();
    let network = server.network();
    let two = vec![planes(&server, 2.0), planes(&server, 3.0)];
    let third = async {
        wait_until("two images at the device", async || {
            let waiting = server.metric("resnet_queue_depth").await;
            let begun = network.batches.lock().unwrap().concat().len();
            begun as f64 + waiting == 2.0
        })
        .await;
        let outcomes = run(&server, vec![planes(&server, 4.0)]).await.unwrap();
        network.gate.open();
        outcomes
    };
    let (outcomes, third) = tokio::join!(run(&server, two), third);
    assert_eq!(
        outcomes.unwrap().iter().map(class).collect::<Vec<_>>(),
        [2, 3]
    );
    assert!(
        matches!(third[0], Err(Error::BodyMemory { .. })),
        "{third:?}"
    );
    let again = run(&server, vec![planes(&server, 4.0)]).await.unwrap();
    assert_eq!(class(&again[0]), 4);
}

#[tokio::test]
async fn a_request_with_too_many_images_is_an_error() {
    let server = server().await;
    let most = server.serving.limits().max_images;
    let images = (0..=most).map(|_| pixels(&server, 1)).collect();
    let found = run(&server, images).await;
    assert!(
        matches!(found, Err(Error::TooManyImages { most: 8 })),
        "{found:?}"
    );
}
