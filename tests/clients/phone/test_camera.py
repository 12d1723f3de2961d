"""The camera on the phone page."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from .pages import READY_MS, is_ready, start_camera


def test_the_camera_is_looked_at_until_it_is_stopped(page: Page) -> None:
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#camera-said").get_by_role("heading")).to_have_text("Looks real", timeout=READY_MS)
    expect(page.locator("#rate")).to_contain_text("looks a second")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#camera-stage")).to_be_hidden()
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_the_camera_stops_when_the_tab_is_left(page: Page) -> None:
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#camera-said .verdict")).to_be_visible(timeout=READY_MS)
    page.get_by_role("tab", name="Photo").click()
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_a_camera_that_is_not_allowed_is_said(browser: Browser, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); }"
    )
    page.goto(address)
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.get_by_role("status")).to_contain_text("The camera is not allowed here", timeout=READY_MS)
    context.close()


def test_what_the_camera_says_stays_on_its_tab(page: Page) -> None:
    page.evaluate("navigator.mediaDevices.getUserMedia = async () => { throw { name: 'NotFoundError' }; }; 0")
    page.get_by_role("tab", name="Camera").click()
    expect(page.get_by_text("nothing is recorded")).to_be_visible()
    page.get_by_role("button", name="Start the camera").click()
    is_ready(page, "No camera was found")
    page.get_by_role("tab", name="Photo").click()
    is_ready(page)
    page.get_by_role("tab", name="Camera").click()
    is_ready(page, "No camera was found")


def test_what_a_camera_needs_is_said_where_there_can_be_none(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.add_init_script("delete Navigator.prototype.mediaDevices")
    page.goto(address)
    page.get_by_role("tab", name="Camera").click()
    expect(page.get_by_text("need an https:// address")).to_be_visible()
    expect(page.get_by_role("button", name="Start the camera")).to_be_hidden()
    page.close()


def test_a_camera_can_be_stopped_while_the_detector_loads(plain_page: Page) -> None:
    page, held = plain_page, []
    page.route("**/float32.tflite", lambda route: held.append(route))
    page.reload()
    start_camera(page)
    expect(page.locator("#camera-stage")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Start the camera")).to_be_visible()
    page.get_by_role("button", name="Start the camera").click()
    while not held:
        page.wait_for_timeout(50)
    held[0].continue_()
    expect(page.locator("#camera-said .verdict")).to_be_visible(timeout=READY_MS)


def test_a_camera_that_is_pulled_out_is_said(page: Page) -> None:
    start_camera(page)
    expect(page.locator("#camera-said .verdict")).to_be_visible(timeout=READY_MS)
    page.evaluate("document.getElementById('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
    is_ready(page, "The camera is gone.")
    expect(page.get_by_role("button", name="Start the camera")).to_be_visible()
    expect(page.locator("#camera .box")).to_have_count(0)


def test_a_camera_that_fails_midway_is_said(page: Page) -> None:
    start_camera(page)
    expect(page.locator("#camera-said .verdict")).to_be_visible(timeout=READY_MS)
    page.evaluate("window.createImageBitmap = async () => { throw new Error('no frame'); }; 0")
    is_ready(page, "The camera does not work here: no frame.")
    expect(page.locator("#camera-stage")).to_be_hidden()


SECOND_WEBCAM = """() => {
    const { mediaDevices } = navigator, { enumerateDevices, getUserMedia } = mediaDevices;
    window.asked = [];
    mediaDevices.enumerateDevices = async () =>
        [...await enumerateDevices.call(mediaDevices), { kind: "videoinput", deviceId: "second" }];
    mediaDevices.getUserMedia = ({ video: { facingMode, deviceId } }) => {
        window.asked.push(deviceId?.exact ?? facingMode);
        return getUserMedia.call(mediaDevices, { video: true });
    };
}"""


def test_the_other_of_two_webcams_is_taken(page: Page) -> None:
    page.evaluate(SECOND_WEBCAM)
    start_camera(page)
    page.get_by_role("button", name="Other camera").click(timeout=READY_MS)
    expect(page.locator("#camera-said .verdict")).to_be_visible(timeout=READY_MS)
    assert page.evaluate("window.asked") == ["user", "second"]
